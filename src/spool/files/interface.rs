use std::io;
use std::path::Path;

/// Directory of a spool.
///
/// File names are relative to the directory. Subdirectories are not nested, so a name is either `file` or
/// `directory/file`.
pub(crate) trait Files {
    /// Open file. Dropping it closes the file.
    type File;

    /// Returns the path of the directory, for messages.
    fn path(&self) -> &Path;

    /// Creates the directory, unless it exists, and locks it until [`unlock`](Self::unlock) or the end of the process.
    ///
    /// Returns an error with the kind `WouldBlock` if another process or handle has the lock.
    fn lock(&mut self) -> io::Result<()>;

    /// Releases the lock, if it is held.
    fn unlock(&mut self);

    /// Returns names and sizes of the files in the directory, in any order, without subdirectories.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Returns names and sizes of the files in a subdirectory, or nothing if it does not exist.
    fn list_in(&self, subdirectory: &str) -> io::Result<Vec<(String, u64)>>;

    /// Creates a file that is readable and writable only for the owner. The file must not exist.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file for reading.
    fn open_read_only(&self, name: &str) -> io::Result<Self::File>;

    /// Returns the size of a file.
    fn size(&self, file: &Self::File) -> io::Result<u64>;

    /// Reserves the space for a file of `size` bytes. The added bytes are zeros.
    ///
    /// Returns an error with the kind `Unsupported` if the file system cannot do this.
    fn preallocate(&self, file: &Self::File, size: u64) -> io::Result<()>;

    /// Sets the size of a file. Added bytes are zeros.
    fn set_size(&self, file: &Self::File, size: u64) -> io::Result<()>;

    /// Reads up to `buffer.len()` bytes at `offset`. Returns less only at the end of the file.
    fn read_at(&self, file: &Self::File, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all bytes at `offset`. If it fails, any part of the bytes may be written.
    fn write_at(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes contents and size of a file durable.
    fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// Makes the creation, renaming, and removal of files in the directory durable.
    fn sync_directory(&self) -> io::Result<()>;

    /// Renames a file, and replaces a file with the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Creates a subdirectory for the owner only, unless it exists.
    fn create_subdirectory(&self, name: &str) -> io::Result<()>;
}
