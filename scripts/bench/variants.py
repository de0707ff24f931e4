"""The ways in which each contestant's step is run, by name; imports neither jax nor torch."""

# This project's, and the flags of XLA that belong to each: the state in plain order, in layouts
# that XLA chooses, with convolutions in command buffers (CUDA graphs), long ones or all, without
# any command buffer, and with deterministic kernels alone (config.deterministic).
BUFFERS = '--xla_gpu_enable_command_buffer=+CONVOLUTION'
SMALL = '--xla_gpu_graph_min_graph_size=1 --xla_cmd_buffer_trace_cache_size=64'
OURS = {
    'layouts': '',
    'layouts+command_buffers': BUFFERS,
    'layouts+deterministic': '--xla_gpu_deterministic_ops=true',
    'plain': '',
    'layouts+no_command_buffers': '--xla_gpu_enable_command_buffer=',
    'layouts+small_command_buffers': f'{BUFFERS} {SMALL}',
}

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
