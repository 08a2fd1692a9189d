"""The DUAL benchmark: the order of the stages is the documentation.

facts -> links -> questions -> knowledge -> salience -> splits

A file each; wording/ helps questions, probing/ knowledge and salience, recipes/ splits; expected is what a plan assumes
before anything is known. relations/, topics.toml and the profiles (dual.toml, embedded.toml) are what users edit.
"""

from pipeline.facts import FACTS
from pipeline.knowledge import KNOWLEDGE
from pipeline.links import LINKS
from pipeline.questions import QUESTIONS
from pipeline.salience import SALIENCE
from pipeline.splits import SPLITS

PIPELINE = (FACTS, LINKS, QUESTIONS, KNOWLEDGE, SALIENCE, SPLITS)
