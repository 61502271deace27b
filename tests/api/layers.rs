//! Layers around the default stack, and inside of it.
