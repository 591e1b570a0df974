//! The integration tests, one binary: a file for each subject.

mod feeds;
