//! COCO keypoints JSON.
