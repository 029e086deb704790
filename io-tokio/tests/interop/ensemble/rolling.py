"""A running ensemble is replaced, one member after the other, on the same data directories, under load."""

from .cluster import Ensemble
from .load import Load


def replaced(*generations):
    """Three of the first kind become three of the next, and so on. A kind that follows itself is a rolling restart."""
    with Ensemble(dict.fromkeys((1, 2, 3), generations[0])) as ensemble:
        ensemble.start(leader=3)
        with Load(ensemble) as load:
            for before, kind in zip(generations, generations[1:]):
                load.longest_gap = 0.0
                for number in _leader_last(ensemble):
                    _replace(ensemble, load, number, kind)
                print(f"     {before} to {kind}: longest gap between writes {load.longest_gap:.1f} s")
            load.finish()
            assert load.lost_sessions() == 0, f"{load.lost_sessions()} sessions timed out"
        print(f"     {load.acknowledged()} writes acknowledged, all there")
        ensemble.no_complaints()


def _leader_last(ensemble):
    leads = ensemble.leader()
    return [*(number for number in ensemble.members if number != leads), leads]


def _replace(ensemble, load, number, kind):
    ensemble.members[number].stop()
    ensemble.replace(number, kind).launch()
    ensemble.serving()
    load.progress()
