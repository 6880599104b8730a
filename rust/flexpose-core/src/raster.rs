//! alpha: keypoints to skeleton images.
