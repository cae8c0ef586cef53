"""All planted faults: importing this module plants them."""

from tests.verify import (
    faults_cancelled,
    faults_content,
    faults_cost,
    faults_damage,
    faults_five,
    faults_five_content,
    faults_forks,
    faults_history,
    faults_lives,
    faults_metadata,
    faults_place,
    faults_search,
    faults_tree,
    faults_turns,
)
from tests.verify.planting import FAULTS, Fault

__all__ = [
    "FAULTS",
    "Fault",
    "faults_cancelled",
    "faults_content",
    "faults_cost",
    "faults_damage",
    "faults_five",
    "faults_five_content",
    "faults_forks",
    "faults_history",
    "faults_lives",
    "faults_metadata",
    "faults_place",
    "faults_search",
    "faults_tree",
    "faults_turns",
]
