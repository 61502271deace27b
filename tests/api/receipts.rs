//! Receipts that are asked without waiting.
