//! What stands at the root, and what in modules.
