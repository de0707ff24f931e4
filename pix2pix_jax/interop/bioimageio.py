"""A model of the BioImage Model Zoo, which deepImageJ (Fiji), ilastik and BiaPy open.

One zip: the ONNX file, what becomes of a file's values before and after it, an image to try it
with and its translation, a cover, and a description. Written and tried with the zoo's own packages
bioimageio.spec and bioimageio.core.
"""

import pathlib
import re
import tempfile
from collections.abc import Mapping
from typing import Any

import bioimageio.core
import jax
import numpy as np
from bioimageio.spec import ValidationSummary, save_bioimageio_package
from bioimageio.spec.model import v0_5 as zoo
from etils import epath
from PIL import Image, ImageOps

from pix2pix_jax.data import image_spec
from pix2pix_jax.data.formats import encode
from pix2pix_jax.errors import DATA_ERROR, UserError
from pix2pix_jax.evaluation import metric_titles
from pix2pix_jax.inference.generator import generator_function
from pix2pix_jax.inference.loaded_run import Run
from pix2pix_jax.interop import example_input, exportable, onnx
from pix2pix_jax.interop.example_input import Values
from pix2pix_jax.interop.exportable import TOLERANCES, Exportable
from pix2pix_jax.reports import image_grid, markdown, run_page
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir import metrics_json, run_files

PAPER = 'Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017'
DOI = '10.1109/CVPR.2017.632'
COVER = 512, 256  # width and height; the zoo takes 2:1 to 1:1


def check(run: Run) -> None:
    """Raises UserError for a run that more than a linear scaling of values leads to and from."""
    d = run.config.dataset
    for field, off in {'input_classes': 0, 'task': 'none', 'nodata': '', 'mask': ''}.items():
        if d[field] != off:
            raise UserError(
                f'--format=bioimageio: the run has config.dataset.{field}={d[field]!r}, for which '
                'the format has no words; allowed is --format=onnx'
            )
    if d.target_scale not in (0, 1):
        raise UserError(
            f'--format=bioimageio: the targets of the run are {d.target_scale:.4g} times as large '
            'as its inputs, for which the format has no words; allowed is --format=onnx'
        )
    if d.inputs > 1:
        raise UserError(
            f'--format=bioimageio: the run has {d.inputs} files for an input; allowed is 1'
        )


def export(
    run: Run,
    workdir: epath.PathLike,
    output: epath.PathLike,
    norm: str = '',
    size: tuple[int, int] | None = None,
    weights: str = 'float32',
) -> list[str]:
    """Writes a run to a zip, once the zoo's own test has passed; returns what to say, as lines.

    Args:
      run: the trained generator.
      workdir: its folder, for an image of its data, and its metrics.
      output: the file.
      norm, size, weights: as in `exportable.create`.

    Raises:
      UserError: for a run that the format cannot describe, a size that the network cannot take,
        and, with status 1 and nothing written, where the zoo's test fails.
    """
    check(run)
    model = exportable.create(run, norm, size, weights)
    data, differs_by = exportable.checked(model, 'onnx', output)
    image, source, remarks = example_input.of_run(workdir, model.config, model.check_size)
    result, target = _translation(model, image, source)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / 'generator.onnx').write_bytes(data)
        np.save(folder / 'test_input.npy', image[None])
        np.save(folder / 'test_output.npy', result[None])
        _cover(image, source, result, target).save(folder / 'cover.png')
        measured = exportable.measured_model(run, norm)
        result_of_run = metrics_json.of_model(workdir, 'test', measured)
        remark = exportable.about_metrics(run.config, measured, bool(result_of_run))
        validation = _validation(result_of_run, remark)
        (folder / 'README.md').write_text(_text(model, validation))
        package = folder / 'package.zip'
        description = _description(model, folder, _title(workdir), source, target)
        save_bioimageio_package(description, output_path=package)
        summary = bioimageio.core.test_model(package)
        if summary.status != 'passed':
            raise UserError(
                f"--output={output}: nothing written, the zoo's own test failed: "
                f'{_first_error(summary)}',
                DATA_ERROR,
            )
        atomic.write_bytes(output, package.read_bytes())
    return [
        f'{output}: {len(data) / 1e6:.3g} MB, bioimageio, weights {weights}, step {run.step}',
        *remarks,
        f'input: {source.dtype} from {source.range[0]:g} to {source.range[1]:g}; '
        f'output: {target.dtype} from {target.range[0]:g} to {target.range[1]:g}',
        f'checked: within {differs_by:.2g} of {exportable.compared_with(run)}; '
        "the zoo's own test passed",
    ]


def _translation(model: Exportable, image: np.ndarray, source: Values) -> tuple[np.ndarray, Values]:
    """Returns what the run makes of a file's values (H,W,C), and what its values are."""
    d = model.config.dataset
    low, high = source.range
    x = np.clip((image.astype(np.float32) - low) * (2 / (high - low)) - 1, -1, 1)
    apply = generator_function(model.config, 'any', model.norm, dropout=False)
    y = np.asarray(jax.jit(apply)(model.variables, x[None]))[0]
    if d.target_classes:
        target = Values(np.dtype(np.float32), (0, 1))
    else:
        ranges = image_spec.of_config(model.config)[1].ranges
        found = ranges[0] if ranges else None
        _, dtype = encode.file_type('.tif', np.dtype(d.target_type or source.dtype), 1, found)
        target = Values(dtype, found or image_spec.type_range(dtype))
    return image_spec.to_type(y, *target), target


def _description(
    model: Exportable, folder: pathlib.Path, title: str, source: Values, target: Values
) -> zoo.ModelDescr:
    """Returns the description of the model, whose files lie in `folder`."""
    sides = {side: _side(model, i) for i, side in enumerate('yx')}
    given = zoo.InputTensorDescr(
        id=zoo.TensorId('input'),
        axes=[
            zoo.BatchAxis(),
            *(zoo.SpaceInputAxis(id=zoo.AxisId(side), size=size) for side, size in sides.items()),
            _channels(model, 'input'),
        ],
        test_tensor=_file(folder / 'test_input.npy'),
        data=_data(source),
        preprocessing=_to_network(source),
    )
    like = {side: zoo.SizeReference(tensor_id=given.id, axis_id=zoo.AxisId(side)) for side in sides}
    made = zoo.OutputTensorDescr(
        id=zoo.TensorId('output'),
        axes=[
            zoo.BatchAxis(),
            *(zoo.SpaceOutputAxis(id=zoo.AxisId(side), size=size) for side, size in like.items()),
            _channels(model, 'output'),
        ],
        test_tensor=_file(folder / 'test_output.npy'),
        data=_data(target),
        postprocessing=_from_network(target),
    )
    tolerance = zoo.ReproducibilityTolerance(
        absolute_tolerance=max(
            float(target.dtype.kind != 'f'),  # rounding may differ
            TOLERANCES[model.weights] / 2 * (target.range[1] - target.range[0]),
        )
    )
    return zoo.ModelDescr(
        name=title,
        description=f'pix2pix: {model.metadata["input"]} to {model.metadata["output"]}',
        inputs=[given],
        outputs=[made],
        weights=zoo.WeightsDescr(
            onnx=zoo.OnnxWeightsDescr(source=folder / 'generator.onnx', opset_version=onnx.OPSET)
        ),
        cite=[zoo.CiteEntry(text=PAPER, doi=zoo.Doi(DOI))],
        covers=[_file(folder / 'cover.png')],
        documentation=_file(folder / 'README.md'),
        tags=['pix2pix', 'image-to-image', 'gan', '2d'],
        config=zoo.Config(bioimageio=zoo.BioimageioConfig(reproducibility_tolerance=[tolerance])),
    )


def _side(model: Exportable, axis: int) -> int | zoo.ParameterizedSize:
    """Returns the size of an image's axis, 0 or 1: one, or from the least on in steps."""
    if model.size:
        return model.size[axis]
    step = model.metadata['multiple_of']
    least = -(-model.metadata['least_size'] // step) * step
    return zoo.ParameterizedSize(min=least, step=step)


def _channels(model: Exportable, name: str) -> zoo.ChannelAxis:
    """Returns the axis of the channels of 'input' or 'output', with their names."""
    about = model.metadata
    names = {1: ['gray'], 3: ['red', 'green', 'blue']}.get(about[f'{name}_channels'])
    if name == 'output' and 'target_classes' in about:
        names = about['target_classes']['names']
    names = names or [f'channel{i}' for i in range(about[f'{name}_channels'])]
    return zoo.ChannelAxis(channel_names=names)


def _data(values: Values) -> zoo.IntervalOrRatioDataDescr:
    return zoo.IntervalOrRatioDataDescr(type=values.dtype.name, range=values.range)


def _to_network(source: Values) -> list[zoo.PreprocessingDescr]:
    """Returns the steps from a file's values to float32 on [-1, 1]."""
    low, high = source.range
    gain = 2 / (high - low)
    return [
        zoo.ScaleLinearDescr(kwargs=zoo.ScaleLinearKwargs(gain=gain, offset=-1 - low * gain)),
        zoo.ClipDescr(kwargs=zoo.ClipKwargs(min=-1, max=1)),
        _as_type('float32'),
    ]


def _from_network(target: Values) -> list[zoo.PostprocessingDescr]:
    """Returns the steps from float32 on [-1, 1] to a file's values; whole ones are rounded."""
    low, high = target.range
    half = 0.0 if target.dtype.kind == 'f' else 0.5
    offset = (low + high) / 2 + half
    return [
        zoo.ClipDescr(kwargs=zoo.ClipKwargs(min=-1, max=1)),
        zoo.ScaleLinearDescr(kwargs=zoo.ScaleLinearKwargs(gain=(high - low) / 2, offset=offset)),
        _as_type(target.dtype.name),
    ]


def _as_type(name: str) -> zoo.EnsureDtypeDescr:
    return zoo.EnsureDtypeDescr(kwargs=zoo.EnsureDtypeKwargs(dtype=name))


def _file(path: pathlib.Path) -> zoo.FileDescr:
    return zoo.FileDescr(source=path)


def _cover(image: np.ndarray, source: Values, result: np.ndarray, target: Values) -> Image.Image:
    """Returns an input and its translation, values of files (H,W,C), side by side."""
    both = []
    for values, (_, (low, high)) in ((image, source), (result, target)):
        unit = (values.astype(np.float32) - low) / (high - low)
        both.append(image_grid.by_itself(unit * 2 - 1))
    picture = Image.fromarray(image_grid.make_grid([both], ('input', 'output')))
    return ImageOps.pad(picture, COVER, color='white')


def _title(workdir: epath.PathLike) -> str:
    """Returns a name of the signs that the zoo takes."""
    name = re.sub(r'[^A-Za-z0-9_+\- ()]+', ' ', run_files.run_name(workdir)).strip()
    return f'pix2pix {name}'[:128]


def _validation(result: Mapping[str, Any], remark: str) -> str:
    """Returns how well the model does by its evaluation, if any, and what is to be known of it."""
    measured = {k: m for k, m in result.get('metrics', {}).items() if 'mean' in m}
    if not measured:
        why = f' ({remark})' if remark else ''
        return f'This model was not measured{why}. Compare translations of held-out inputs.'
    rows = run_page.metrics_table(measured, metric_titles.title)
    about = ', '.join(filter(None, (f'Of {result.get("images")} test images', remark)))
    return f'{about}:\n\n{markdown.table(rows)}'


def _text(model: Exportable, validation: str) -> str:
    """Returns the documentation: what the model does, and how well."""
    about = model.metadata
    return f"""# pix2pix

{about['input']} to {about['output']}, trained on images of
{about['trained_size'][0]}x{about['trained_size'][1]} (height x width), step {about['step']}.
Generator {about['generator']}, norms {about['norm']}, no dropout. {PAPER}.

## Validation

{validation}
"""


def _first_error(summary: ValidationSummary) -> str:
    """Returns the first error of the zoo's test, as one line."""
    messages = [error.msg for detail in summary.details for error in detail.errors]
    return ' '.join((messages or ['without a reason'])[0].split())[:300]
