"""The ways in which each contestant's step is run, by name; imports neither jax nor torch."""

# This project's, and the flags of XLA that belong to each: the state in layouts that XLA chooses,
# as training has it; with convolutions as matrix products over patches, which leaves nothing to
# cuDNN, or in fusions of cuDNN's, both of which command buffers (CUDA graphs) can take in; with
# command buffers of two kernels, not only of five and more; with kernels that are not chosen by
# timing them, or deterministic ones alone (config.deterministic); the state in plain order; without
# any command buffer.
#
# With cuDNN's convolutions in them it failed on an H200 (jax 0.11.2, cuDNN 9.19: "cudnn status
# 5003", a call of CUDA's runtime). XLA records such a command buffer before anything ran, and CUDA
# loads a kernel when it is first started, which may be forbidden while one records. So this variant
# has all kernels loaded at the start (ENVIRONMENT); whether that is the reason is to be measured.
BUFFERS = '--xla_gpu_enable_command_buffer'
OURS = {  # those that may fail or hang last
    'layouts': '',
    'plain': '',
    'layouts+untuned': '--xla_gpu_autotune_level=0',
    'layouts+deterministic': '--xla_gpu_deterministic_ops=true',
    'layouts+no_command_buffers': f'{BUFFERS}=',
    'layouts+short_command_buffers': '--xla_gpu_graph_min_graph_size=2',
    'layouts+patches': f'{BUFFERS}=+CUBLAS,+CUBLASLT',
    'layouts+fusions': f'{BUFFERS}=+CUDNN --xla_gpu_experimental_enable_conv_fusion=true',
    'layouts+command_buffers': f'{BUFFERS}=+CONVOLUTION',
}
ENVIRONMENT = {'layouts+command_buffers': {'CUDA_MODULE_LOADING': 'EAGER'}}
FORMS = {'layouts+patches': 'patches'}  # of convolutions, of models/conv_forms.py

# The peer's. 'eager' is PyTorch as it comes; 'fused' has cudnn.benchmark and the fused Adam, and
# the others have that, too: torch.compile of both networks, the same with its CUDA graphs, and one
# CUDA graph around the whole step.
MODES = ('eager', 'fused', 'compile', 'reduce-overhead', 'graph')
CUDA_ONLY = ('reduce-overhead', 'graph')
CHANNELS_LAST = '+channels_last'
PEERS = tuple(mode + layout for mode in MODES for layout in ('', CHANNELS_LAST))


def default_peers(device: str) -> tuple[str, ...]:
    """Returns the peer's variants that are tried on a device: the best of them is the peer."""
    return PEERS if device == 'gpu' else ('eager',)


def split(peer: str) -> tuple[str, bool]:
    """Returns a peer's mode, and whether its images and kernels are stored channels last."""
    mode, plus, _ = peer.partition('+')
    return mode, bool(plus)


def given_flags(flags: str) -> list[str]:
    """Returns those of XLA's `flags`, words in one line, that a variant of OURS sets, by name."""
    names = {word.partition('=')[0] for words in OURS.values() for word in words.split()}
    return [name for name in (word.partition('=')[0] for word in flags.split()) if name in names]
