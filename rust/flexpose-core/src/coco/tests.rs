use super::*;

const HEAD: &str = r#"{"images":[{"id":7,"width":10,"height":20}],"categories":[{"id":1,"name":"p","keypoints":["a","b"]}],"annotations":["#;

fn read_annotations(annotations: &str) -> Result<CocoPoses, CocoError> {
    read(format!("{HEAD}{annotations}]}}").as_bytes(), None)
}

#[test]
fn reads_a_pose() {
    let poses = read_annotations(
        r#"{"id":3,"image_id":7,"category_id":1,"keypoints":[1.5,-2,2,9,9,0],"num_keypoints":1,"action":"run"}"#,
    )
    .unwrap();
    assert_eq!(poses.keypoints, [1.5, -2.0, 0.0, 0.0]);
    assert_eq!(poses.visibility, [2, 0]);
    assert_eq!(poses.image_size, [10, 20]);
    assert_eq!(poses.ids, [3]);
    assert_eq!(poses.names.unwrap(), ["a", "b"]);
    let labels = poses.labels.unwrap();
    assert_eq!(labels.table[labels.codes[0] as usize], "run");
}
