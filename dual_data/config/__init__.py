"""The files that users edit, as frozen models: profiles, topics.toml and the relation files.

Unknown keys are errors everywhere: a misspelt parameter must never be a silent default.
"""

from dual_data.config.files import RowCount, Strict, each_once, in_words, matching, parse, read_text, read_toml
from dual_data.config.places import NO_FOLDER_NAME, RELATIONS, TOPICS, is_folder_name, shipped_project
from dual_data.config.profile import (
    About,
    Profile,
    ProjectTable,
    load_profile,
    profile_files,
    same_name,
    sound_profiles,
)
from dual_data.config.relations import (
    Excluded,
    Relation,
    Wording,
    load_excluded,
    load_relation,
    load_relations,
    wording_key,
)
from dual_data.config.services import EMBEDDED, LONGEST_TIMEOUT, SNAPSHOT, Pace, Services
from dual_data.config.topics import POOLED, Topic, load_topics
from dual_data.config.urls import Url, check_url

__all__ = [
    "EMBEDDED",
    "LONGEST_TIMEOUT",
    "NO_FOLDER_NAME",
    "POOLED",
    "RELATIONS",
    "SNAPSHOT",
    "TOPICS",
    "About",
    "Excluded",
    "Pace",
    "Profile",
    "ProjectTable",
    "Relation",
    "RowCount",
    "Services",
    "Strict",
    "Topic",
    "Url",
    "Wording",
    "check_url",
    "each_once",
    "in_words",
    "is_folder_name",
    "load_excluded",
    "load_profile",
    "load_relation",
    "load_relations",
    "load_topics",
    "matching",
    "parse",
    "profile_files",
    "read_text",
    "read_toml",
    "same_name",
    "shipped_project",
    "sound_profiles",
    "wording_key",
]
