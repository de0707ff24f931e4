"""README.md and docs/: links lead somewhere, and what they name is there."""

import pathlib
import re

import pytest
from helpers import ROOT
from helpers.source_code import MODULES, imported, room

from pix2pix_jax.config import default_config, flatten

PACKAGE = ROOT / 'pix2pix_jax'
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]
FOLDERS = ('pix2pix_jax', 'scripts', 'configs', 'tests', 'docs')
FIELDS = flatten(default_config())
SECTIONS = {field.split('.')[0] for field in FIELDS if '.' in field}
INVENTED = {'config.dataset.target_rnage'}  # the misspelt one of data_mistakes.md
# test.py and train.csv are no fields.
EXTENSIONS = {'py', 'csv', 'json', 'jsonl', 'txt', 'safetensors'}

pages = pytest.mark.parametrize('page', PAGES, ids=lambda path: path.name)


def without_fences(text: str) -> str:
    return re.sub(r'^```.*?^```', '', text, flags=re.MULTILINE | re.DOTALL)


def in_backticks(text: str) -> list[str]:
    return re.findall(r'`([^`\n]+)`', without_fences(text))


def anchors(page: pathlib.Path) -> set[str]:
    """The #fragments of a page's headings, as GitHub makes them."""
    headings = re.findall(r'^#+ (.*)', without_fences(page.read_text()), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def absent(name: str) -> bool:
    """Whether no file has this name: a path in the repository, the package, configs/ or tests/."""
    if '/' not in name:
        places = [next((ROOT / folder).rglob(name), None) for folder in FOLDERS]
        return not any(places) and not (ROOT / name).exists()
    return not any(
        (place / name).exists() for place in (ROOT, PACKAGE, ROOT / 'configs', ROOT / 'tests')
    )


@pages
def test_relative_links_lead_to_a_file_and_a_heading(page):
    for target in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
        if target.startswith(('http:', 'https:')):
            continue
        path, _, fragment = target.partition('#')
        linked = page.parent / path if path else page
        assert linked.is_file(), target
        assert not fragment or fragment in anchors(linked), target


@pages
def test_files_that_are_named_are_there(page):
    text = page.read_text()
    paths = re.findall(rf'(?<![\w/.])((?:{"|".join(FOLDERS)})/[\w./-]*\w\.\w+)', text)
    paths += [n for code in in_backticks(text) for n in re.findall(r'^[\w/]+\.py', code)]
    assert [path for path in paths if absent(path)] == []


@pages
def test_modules_that_are_named_are_there(page):
    for module in re.findall(r'python -m (pix2pix_jax[.\w]*)', page.read_text()):
        assert module in MODULES, module


@pages
def test_fields_that_are_named_are_those_of_the_config(page):
    text = page.read_text()
    named = set(re.findall(r'--(config\.[a-z_][\w.]*\w)', text))
    for code in in_backticks(text):
        found = re.match(r'(?:config\.)?((\w+)\.(\w+))(?:=[^/]*)?$', code)
        if found and found[2] in SECTIONS and found[3] not in EXTENSIONS:
            named.add(f'config.{found[1]}')
    unknown = {name for name in named if name.removeprefix('config.') not in FIELDS}
    assert unknown <= INVENTED


def test_the_readme_is_short_and_lists_all_pages():
    text = (ROOT / 'README.md').read_text()
    assert len(text.splitlines()) <= 200
    assert [page.name for page in PAGES[2:] if f'](docs/{page.name})' not in text] == []


def test_the_readme_lists_all_scripts():
    text = (ROOT / 'README.md').read_text().split('| script |')[1].split('\n\n')[0]
    scripts = {path.name for path in (ROOT / 'scripts').iterdir() if path.is_file()}
    assert set(re.findall(r'`scripts/(\w+\.\w+)`', text)) == scripts


def table(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading of docs/design.md, its header left out."""
    text = (ROOT / 'docs' / 'design.md').read_text().split(f'## {heading}\n')[1]
    lines = re.search(r'(?:^\|.*\n)+', text, re.MULTILINE)[0].splitlines()[2:]
    return [re.split(r'(?<!\\)\|', line)[1:-1] for line in lines]


def test_the_functions_on_the_way_of_a_batch_are_in_their_files():
    rows = table('How one batch travels')
    assert len(rows) > 15
    for file, functions, _ in rows:
        (path,) = in_backticks(file)
        source = (PACKAGE / path).read_text()
        for function in in_backticks(functions):
            assert re.search(rf'^ *def {function}\(', source, re.MULTILINE), (path, function)


def test_rooms_stand_on_floors_and_import_from_no_floor_above():
    rows = table('The rooms')
    floor_of = {
        name.removesuffix('.py').removesuffix('/'): floor
        for floor, (_, rooms) in enumerate(rows)
        for name in in_backticks(rooms)
    }
    assert floor_of.keys() == {room(module) for module in MODULES}
    for module in MODULES:
        for other in imported(module):
            assert floor_of[room(module)] <= floor_of[room(other)], (module, other)
