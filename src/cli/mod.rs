//! Placeholder of this commit: the module follows in the next ones.
