use std::sync::OnceLock;

use tokio::sync::watch;

/// Sender of a [`watch`] channel that is created when it is first needed.
///
/// A channel takes about 450 bytes. Most channels of an idle producer have neither a receiver nor a value other than the
/// initial one.
#[derive(Debug)]
pub(crate) struct LazyWatch<T> {
    sender: OnceLock<watch::Sender<T>>,
    initial: fn() -> T,
}

impl<T> LazyWatch<T> {
    pub(crate) const fn new(initial: fn() -> T) -> Self {
        Self { sender: OnceLock::new(), initial }
    }

    fn sender(&self) -> &watch::Sender<T> {
        self.sender.get_or_init(|| watch::Sender::new((self.initial)()))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<T> {
        self.sender().subscribe()
    }

    pub(crate) fn read<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        match self.sender.get() {
            Some(sender) => read(&sender.borrow()),
            None => read(&(self.initial)()),
        }
    }

    /// Changes the value, and notifies the receivers if `modify` returns `true`.
    pub(crate) fn send_if_modified(&self, modify: impl Fn(&mut T) -> bool) {
        // Without a channel, the value is the initial one. A change that does not modify it needs no channel.
        if self.sender.get().is_none() && !modify(&mut (self.initial)()) {
            return;
        }
        self.sender().send_if_modified(modify);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_is_created_by_first_change() {
        let watch = LazyWatch::new(|| 1);
        watch.send_if_modified(|_| false);
        assert!(watch.sender.get().is_none());
        assert_eq!(watch.read(|value| *value), 1);
        watch.send_if_modified(|value| std::mem::replace(value, 2) != 2);
        assert_eq!((watch.read(|value| *value), *watch.subscribe().borrow()), (2, 2));
    }

    #[tokio::test]
    async fn receiver_sees_later_changes() {
        let watch = LazyWatch::new(|| 1);
        let mut receiver = watch.subscribe();
        watch.send_if_modified(|value| std::mem::replace(value, 2) != 2);
        receiver.changed().await.unwrap();
        assert_eq!(*receiver.borrow(), 2);
        drop(watch);
        assert!(receiver.changed().await.is_err());
    }
}
