"""What the models return. NamedTuples, with `()` for maps that were not asked for, pass unchanged
through tf.function, predict, functional models, torch.export and torch.jit.trace."""

from __future__ import annotations

from typing import Any, NamedTuple


class ConvNextEncoderOutput(NamedTuple):
    """The maps of all stages, as the model's encoder passes them on."""

    last_hidden_state: Any  # (N, C, H, W), the last stage's map
    hidden_states: tuple[Any, ...] = ()  # the stem's map, then each stage's: (N, C_i, H_i, W_i)


class ConvNextModelOutput(NamedTuple):
    """Feature maps and their pooled vector. N images, C channels of the last stage."""

    last_hidden_state: Any  # (N, C, H, W), the last stage's map, not normalised
    pooler_output: Any  # (N, C), its mean over H and W, normalised
    hidden_states: tuple[Any, ...] = ()  # the stem's map, then each stage's: (N, C_i, H_i, W_i)


class ConvNextClassifierOutput(NamedTuple):
    """Logits, of a call without labels."""

    logits: Any  # (N, num_labels), before softmax
    hidden_states: tuple[Any, ...] = ()  # the stem's map, then each stage's: (N, C_i, H_i, W_i)

    @property
    def loss(self) -> None:
        """None, and no field of the tuple: out[0] is the logits, as in transformers."""
        return None


class ConvNextClassifierLossOutput(NamedTuple):
    """Loss and logits, of a call with labels."""

    loss: Any  # (), the mean over the batch
    logits: Any  # (N, num_labels), before softmax
    hidden_states: tuple[Any, ...] = ()  # the stem's map, then each stage's: (N, C_i, H_i, W_i)


def as_asked(output: Any, return_dict: bool) -> Any:
    """The output itself, or the plain tuple of `return_dict=False`, without absent maps."""
    return output if return_dict else tuple(output)[: None if output.hidden_states else -1]
