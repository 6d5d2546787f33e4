from dataclasses import replace

from synthetic_runs import synthetic_run

from hashrepro.reporting.legend import legend, level, untrained


def test_the_legend_says_what_the_interval_is_not(suite):
    text = legend(suite)
    seeds = [synthetic_run("adsh", 12, seed) for seed in (0, 1)]
    assert "95 % interval of the mAP, percentile bootstrap over queries (1,000 resamples)" in text
    assert "neither seeds nor training vary" in text
    assert "(comparisons.md)" in text
    assert ("±" in text, "±" in legend(seeds)) == (False, True)


def test_the_confidence_is_the_runs_own(suite):
    about = suite[0].about | {"interval": suite[0].about["interval"] | {"confidence": 0.9}}
    ninety = replace(suite[0], about=about)
    assert level([replace(suite[0], about={}), ninety]) == "90 %"
    assert level([]) == "95 %"
    assert "90 % interval of the mAP" in legend([ninety])


def test_runs_of_before_intervals_are_not_said_to_have_them(suite):
    assert "[low, high]" not in legend([replace(record, about={}) for record in suite])


def test_each_convention_is_told_with_the_methods_that_it_is_of(suite):
    other = replace(suite[2], about=suite[2].about | {"conventions": {"map_reference": "first 5000 only"}})
    lines = legend([suite[0], suite[1], other]).splitlines()
    assert "- reference mAP (SEMICON): first 5000 only." in lines
    assert [line for line in lines if line.startswith("- mAP (ADSH): ties in expectation")]


def test_a_floor_on_a_part_of_the_database_says_so(suite):
    part = replace(suite[0], about=suite[0].about | {"untrained_database": 100})
    (line,) = untrained([part, suite[1]])
    assert "100 of 1,200 database images" in line
    assert untrained(suite) == []
