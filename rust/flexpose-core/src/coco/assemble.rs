//! Records to poses: what only several records together can tell.

use std::collections::HashMap;

use super::document::{Annotation, Category, Document, NO_LABEL};
use super::error::{shorten, CocoError, Place, Section};
use super::{CocoPoses, Labels, ReadCounts, LABEL_FIELDS};

/// Check ids across the sections and the number of keypoints, choose the skeleton and the labels.
pub(super) fn assemble(document: Document, label_field: Option<&str>) -> Result<CocoPoses, CocoError> {
    let mut used = vec![false; document.categories.len()];
    let mut counts = ReadCounts {
        annotations: document.annotations.len(),
        images: document.images.len(),
        ..ReadCounts::default()
    };
    let mut poses = CocoPoses {
        names: None,
        category: None,
        bones: Vec::new(),
        num_keypoints: 0,
        keypoints: document.coordinates,
        visibility: document.visibility,
        image_size: Vec::new(),
        ids: Vec::new(),
        labels: None,
        counts,
    };
    let mut unnamed: Option<usize> = None;
    for (record, annotation) in document.annotations.iter().enumerate() {
        let fail = |field: &str, message: String| {
            Err(CocoError::at(
                Place::new(Section::Annotations, record, field),
                message,
            ))
        };
        let Some(&(width, height)) = document.images.get(&annotation.image_id) else {
            return fail(
                "image_id",
                format!("must be the id of an image, {} is none", annotation.image_id),
            );
        };
        let Some(&index) = document.category_index.get(&annotation.category_id) else {
            return fail(
                "category_id",
                format!("must be the id of a category, {} is none", annotation.category_id),
            );
        };
        let names = document.categories[index].keypoints.as_ref();
        let expected = names.map(Vec::len).or(annotation.points).unwrap_or(0);
        if let Some(points) = annotation.points.filter(|&points| points != expected) {
            let message = format!(
                "must hold {expected} x 3 = {} numbers, got {}",
                3 * expected,
                3 * points
            );
            return fail("keypoints", message);
        }
        if let Some(count) = annotation.num_keypoints {
            if count > expected as u64 && annotation.points.is_some() {
                return fail(
                    "num_keypoints",
                    format!("must be at most {expected}, got {count}"),
                );
            }
            counts.count_mismatch += usize::from(count != annotation.labelled as u64);
        }
        if annotation.crowd {
            counts.crowd += 1;
        } else if annotation.labelled == 0 {
            counts.unlabelled += 1;
        } else {
            if names.is_none() && *unnamed.get_or_insert(expected) != expected {
                let message = format!(
                    "no category names the keypoints, so all poses must have the same number: got {expected} after {}",
                    unnamed.unwrap_or(expected)
                );
                return fail("keypoints", message);
            }
            used[index] = true;
            counts.unknown_size += usize::from(width == 0);
            poses.image_size.extend([width, height]);
            poses.ids.push(annotation.id);
        }
    }
    poses.counts = counts;
    if let Some(category) = pose_category(&document.categories, &used)? {
        poses.names.clone_from(&category.keypoints);
        poses.category.clone_from(&category.name);
        poses.bones.clone_from(&category.bones);
    }
    poses.num_keypoints = poses.names.as_ref().map_or(unnamed.unwrap_or(0), Vec::len);
    poses.labels = labels(
        &document.annotations,
        document.label_table,
        &document.categories,
        &document.category_index,
        &used,
        label_field,
    )?;
    Ok(poses)
}

/// The first category in use, after a check that all in use name the same keypoints; with no pose at all,
/// all that name keypoints count as in use.
fn pose_category<'a>(categories: &'a [Category], used: &[bool]) -> Result<Option<&'a Category>, CocoError> {
    let any = used.contains(&true);
    let mut candidates = categories.iter().zip(used).filter_map(|(category, &used)| {
        let counts = if any { used } else { category.keypoints.is_some() };
        counts.then_some(category)
    });
    let Some(first) = candidates.next() else {
        return Ok(None);
    };
    match candidates.find(|other| other.keypoints != first.keypoints) {
        None => Ok(Some(first)),
        Some(other) => Err(CocoError::at(
            Place {
                section: Section::Categories,
                ..Place::default()
            },
            format!(
                "poses of one file must share one skeleton, but {} and {} name different keypoints; \
                 write one file for each",
                title(first),
                title(other)
            ),
        )),
    }
}

fn title(category: &Category) -> String {
    match &category.name {
        Some(name) => format!("category {} (`{}`)", category.id, shorten(name)),
        None => format!("category {}", category.id),
    }
}

/// Labels from the first field in use, or from the category where that tells poses apart.
fn labels(
    annotations: &[Annotation],
    table: Vec<String>,
    categories: &[Category],
    index_of: &HashMap<i64, usize>,
    used: &[bool],
    label_field: Option<&str>,
) -> Result<Option<Labels>, CocoError> {
    let kept = || annotations.iter().filter(|annotation| annotation.kept());
    let slot =
        (0..LABEL_FIELDS.len()).find(|&slot| kept().any(|annotation| annotation.labels[slot] != NO_LABEL));
    match (slot, label_field) {
        (Some(slot), _) => {
            let mut table = table;
            let none = table.iter().position(String::is_empty).unwrap_or_else(|| {
                table.push(String::new());
                table.len() - 1
            }) as u32;
            let code = |annotation: &Annotation| match annotation.labels[slot] {
                NO_LABEL => none,
                code => code,
            };
            Ok(Some(Labels {
                codes: kept().map(code).collect(),
                table,
            }))
        }
        (None, Some(field)) if used.contains(&true) => Err(CocoError::at(
            Place {
                section: Section::Annotations,
                record: None,
                field: field.to_owned(),
            },
            "no annotation with a labelled keypoint has this label field",
        )),
        (None, None) if used.iter().filter(|&&used| used).count() > 1 => Ok(Some(Labels {
            table: categories
                .iter()
                .map(|category| category.name.clone().unwrap_or_else(|| category.id.to_string()))
                .collect(),
            codes: kept()
                .filter_map(|annotation| index_of.get(&annotation.category_id))
                .map(|&index| index as u32)
                .collect(),
        })),
        (None, _) => Ok(None),
    }
}
