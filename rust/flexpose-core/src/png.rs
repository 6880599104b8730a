//! PNG encoding of skeleton images.
