"""The DUAL benchmark: the order of the stages is the documentation.

facts -> links -> questions -> knowledge -> salience -> splits

One file each; wording/ helps questions, probing/ knowledge and salience, recipes/ splits; expected is what a plan
assumes before the facts are built. Users edit relations/, topics.toml and the profiles (dual.toml, embedded.toml).
"""

from pipeline.facts import FACTS
from pipeline.knowledge import KNOWLEDGE
from pipeline.links import LINKS
from pipeline.questions import QUESTIONS
from pipeline.salience import SALIENCE
from pipeline.splits import SPLITS

PIPELINE = (FACTS, LINKS, QUESTIONS, KNOWLEDGE, SALIENCE, SPLITS)
