"""Names of motion capture rigs."""

from __future__ import annotations

import pytest

from flexpose.errors import DataError, UsageError
from flexpose.poses.rigs import read_rig, rig_joints

CMU = (
    "Hips LHipJoint LeftUpLeg LeftLeg LeftFoot LeftToeBase LeftToeBase_end RHipJoint RightUpLeg RightLeg RightFoot "
    "RightToeBase RightToeBase_end LowerBack Spine Spine1 Neck Neck1 Head Head_end LeftShoulder LeftArm LeftForeArm "
    "LeftHand LeftFingerBase LThumb RightShoulder RightArm RightForeArm RightHand RightFingerBase RThumb"
)
BANDAI = (
    "joint_Root Hips Spine Chest Neck Head Head_end Shoulder_L UpperArm_L LowerArm_L Hand_L Hand_L_end Shoulder_R "
    "UpperArm_R LowerArm_R Hand_R Hand_R_end UpperLeg_L LowerLeg_L Foot_L Toes_L UpperLeg_R LowerLeg_R Foot_R Toes_R"
)
MIXAMO = " ".join(f"mixamorig:{name}" for name in CMU.split() if "Joint" not in name)
PLAIN = (
    "Hips Neck Head Head_end LeftCollar LeftShoulder LeftElbow LeftWrist RightCollar RightShoulder RightElbow "
    "RightWrist LeftHip LeftKnee LeftAnkle RightHip RightKnee RightAnkle"
)
LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (CMU, ("LeftArm", "LeftForeArm", "LeftHand", "LeftUpLeg", "LeftLeg", "LeftFoot")),
        (BANDAI, ("UpperArm_L", "LowerArm_L", "Hand_L", "UpperLeg_L", "LowerLeg_L", "Foot_L")),
        (PLAIN, ("LeftShoulder", "LeftElbow", "LeftWrist", "LeftHip", "LeftKnee", "LeftAnkle")),
        (
            MIXAMO,
            tuple(f"mixamorig:Left{part}" for part in ("Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot")),
        ),
    ],
)
def test_known_rigs(names, left):
    rig = names.split()
    found = rig_joints(rig)
    assert [rig[found[f"left_{part}"]] for part in LIMBS] == list(left)
    right = [name.replace("Left", "Right").replace("_L", "_R") for name in left]
    assert [rig[found[f"right_{part}"]] for part in LIMBS] == right
    assert [rig[found[name]].split(":")[-1] for name in ("pelvis", "neck", "head", "head_top")] == [
        *("Hips", "Neck", "Head", "Head_end")
    ]


def test_own_names_stay():
    names = [
        "pelvis",
        "left_collar",
        "left_shoulder",
        "left_foot",
        "left_ankle",
        "left_hand",
        "left_wrist",
        "tail",
    ]
    assert rig_joints(names) == {name: index for index, name in enumerate(names[:-1])}


def test_a_users_names(tmp_path):
    path = tmp_path / "rig.toml"
    path.write_text('left_hip = "thigh.L"\nhead = "skull"\n', encoding="utf-8")
    assert rig_joints(["skull", "Hips", "thigh.L"], read_rig(path)) == {"left_hip": 2, "head": 0}
    with pytest.raises(
        UsageError, match=r"left_hip must be a joint of the rig, got 'thigh\.L'; it has skull"
    ):
        rig_joints(["skull"], read_rig(path))
    for text, message in (("left_hip = 3", "left_hip: must be the name"), ("left_hip", "must be TOML")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=message):
            read_rig(path)
