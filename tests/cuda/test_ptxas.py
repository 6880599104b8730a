"""Reading what ptxas says of each kernel."""

from __future__ import annotations

from flexpose.cuda.ptxas import KernelStats, kernel_name, read_stats, table

LOG = """
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN8flexpose5entryINS_6FilterIfLi4EEEEEvNT_6ParamsE' for 'sm_90'
ptxas info    : Function properties for _ZN8flexpose5entryINS_6FilterIfLi4EEEEEvNT_6ParamsE
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 57 registers, used 0 barriers
ptxas info    : Compiling entry function '_ZN8flexpose5entryINS_7ConvMmaINS_4HalfELi128EEEEEvNT_6ParamsE' for 'sm_80'
ptxas info    : Function properties for _ZN8flexpose5entryINS_7ConvMmaINS_4HalfELi128EEEEEvNT_6ParamsE
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers
"""


def test_names_are_the_kernels_own():
    assert (
        kernel_name("_ZN8flexpose5entryINS_7ConvMmaINS_6BFloatELi128EEEEEvNT_6ParamsE")
        == "ConvMma<BFloat, 128>"
    )
    assert kernel_name("_ZN8flexpose5entryINS_4PackIfNS_4HalfEEEEEvNT_6ParamsE") == "Pack<float, Half>"
    name = "_ZN8flexpose5entryINS_6ReduceIdLi1ENS_13ScaledProductEEEEEvNT_6ParamsE"
    assert kernel_name(name) == "Reduce<double, 1, ScaledProduct>"
    assert kernel_name("N8flexpose7ConvMmaINS_6BFloatELi128EEE") == "ConvMma<BFloat, 128>"
    assert kernel_name("main") == "main"


def test_registers_and_spills_are_read():
    assert read_stats(LOG) == [
        KernelStats("ConvMma<Half, 128>", "80", 128, 16, 20),
        KernelStats("Filter<float, 4>", "90", 57, 0, 0),
    ]
    assert read_stats("nothing of the kind") == []


def test_the_table_has_a_row_a_kernel_and_a_column_a_card():
    assert table(read_stats(LOG)).splitlines() == [
        "| kernel | sm_80 | sm_90 |",
        "|---|---|---|",
        "| ConvMma<Half, 128> | 128, 20 B spilled | - |",
        "| Filter<float, 4> | - | 57 |",
    ]
