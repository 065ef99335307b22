"""Faults of the fourteenth held-out set."""

from __future__ import annotations

from tests.corpus.fault import Fault
from tests.corpus.fourteenth.faults_of_everybody import OF_EVERYBODY
from tests.corpus.fourteenth.faults_of_loops import OF_LOOPS
from tests.corpus.fourteenth.faults_of_pictures import OF_PICTURES
from tests.corpus.fourteenth.faults_of_tables import OF_TABLES
from tests.corpus.fourteenth.faults_of_time import OF_TIME

FAULTS: dict[str, Fault] = {**OF_TABLES, **OF_PICTURES, **OF_TIME, **OF_LOOPS, **OF_EVERYBODY}
