"""Tests of bigmodels.data.texts.dialogues and slot_dialogues."""

import json

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.data.texts import DialogueFile, SlotDialogueFile, slot_dialogues
from tests.data.texts.written import write

HERE = DataContext(None, None, {})


def lines(*records):
  return '\n'.join(map(json.dumps, records))


def test_turns_and_responses(tmp_path):
  records = [{'context': [f'a  {i}\n', 'b'], 'said': ['x', 'y']} for i in range(40)]
  records.append({'context': 'one turn', 'said': 'one answer'})
  records += records[:3]  # the same beginning: in the same split
  write(tmp_path, a_jsonl=lines(*records))
  source = DialogueFile(str(tmp_path / 'a.jsonl'), responses='said')
  found = [source.read(name, HERE) for name in ('train', 'validation', 'test')]
  assert sum(len(each.contexts) for each in found) == 44
  firsts = [{turns[0] for turns in each.contexts} for each in found]
  assert not firsts[0] & firsts[1] and not (firsts[0] | firsts[1]) & firsts[2]
  every = {context: responses for each in found for context, responses in zip(
    each.contexts, each.responses, strict=True)}
  assert every['a 3', 'b'] == ('x', 'y') and every['one turn',] == ('one answer',)


@pytest.mark.parametrize(('text', 'message'), [
  ('', 'there is no dialogue in it'), ('{"a": ', 'line 1 is not JSON'),
  ('[1]', 'line 1 must be an object'),
  ('{"context": ["a"], "response": ["b"]}', "line 1 has no 'responses'; did you mean"),
  ('{"context": [], "responses": ["b"]}', "line 1, 'context': must be texts in a list"),
  ('{"context": {"a": 1}, "responses": ["b"]}', "'context': must be texts in a list"),
  ('{"context": ["a", " "], "responses": ["b"]}', "'context', turn 1: is empty"),
  ('{"context": ["a"], "responses": [3]}', "turn 0: must be a text, got 3"),
  (b'{"context": ["\xff"]}', 'line 1 is not JSON')])
def test_lines_that_are_not_in_the_format(tmp_path, text, message):
  write(tmp_path, a_jsonl=text)
  with pytest.raises(UserError, match=message):
    DialogueFile(str(tmp_path / 'a.jsonl')).read('train', HERE)


def dialogue(number):
  slots = [{'act': 'inform', 'slots': [['food', 'thai']]},
           {'act': 'request', 'slots': [['slot', 'phone']]}]
  return {'dial': [
    {'usr': {'transcript': f'hi {number}', 'slu': []}, 'sys': {'sent': 'Yes?'}},
    {'usr': {'transcript': 'Thai, and the phone', 'slu': slots},
     'sys': {'sent': 'It is 123.'}}]}


def test_slots_and_what_is_said(tmp_path):
  write(tmp_path, a_json=json.dumps([dialogue(i) for i in range(10)]))
  source = SlotDialogueFile(str(tmp_path / 'a.json'))
  found = source.read('validation', HERE)
  assert found.contexts == [
    ('hi 6',), ('hi 6', 'Yes?', 'Thai, and the phone'),
    ('hi 7',), ('hi 7', 'Yes?', 'Thai, and the phone')]
  assert found.responses[1] == ('food=thai, request=phone | It is 123.',)
  assert len(source.read('train', HERE).contexts) == 12
  assert slot_dialogues.parsed(found.responses[1][0]) == (
    {'food=thai', 'request=phone'}, 'It is 123.')
  assert slot_dialogues.parsed(found.responses[0][0]) == (frozenset(), 'Yes?')
  assert slot_dialogues.parsed('no slots') == (frozenset(), 'no slots')


@pytest.mark.parametrize(('change', 'message'), [
  (lambda d: d.pop('dial'), "dialogue 0 has no 'dial'"),
  (lambda d: d['dial'][0].pop('sys'), "dialogue 0, turn 0 has no 'sys'"),
  (lambda d: d['dial'][1]['usr'].update(transcript=''), 'turn 1, transcript: is empty'),
  (lambda d: d['dial'][1]['usr'].update(slu='x'), "'slu': must be a list"),
  (lambda d: d['dial'][1]['usr']['slu'][0].update(slots=[['a']]),
   'a slot must be a name and a value')])
def test_dialogues_that_are_not_in_the_format(tmp_path, change, message):
  first = dialogue(0)
  change(first)
  write(tmp_path, a_json=json.dumps([first, *(dialogue(i) for i in range(5))]))
  with pytest.raises(UserError, match=message):
    SlotDialogueFile(str(tmp_path / 'a.json')).read('train', HERE)


@pytest.mark.parametrize(('text', 'message'), [
  ('[', 'line 1: is not JSON'), ('{}', 'must be a list of dialogues'),
  ('[]', 'must be a list of dialogues'), ('[' * 100_000, 'is JSON that cannot be read'),
  ('[' + '9' * 5000 + ']', 'is JSON that cannot be read')])
def test_files_that_are_no_list(tmp_path, text, message):
  write(tmp_path, a_json=text)
  with pytest.raises(UserError, match=message):
    SlotDialogueFile(str(tmp_path / 'a.json')).read('train', HERE)
