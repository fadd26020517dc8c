"""Tiny random models of every decoder family of transformers, made from their own configurations."""

import dataclasses
from collections.abc import Iterator
from inspect import signature
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

WIDTH, VOCABULARY, TEXT = 32, 64, 40
PAD, BEGIN, END = 0, 1, 2

KINDS: dict[str, Any] = {
    "causal": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "encoder-decoder": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    "image and text": modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    "speech": modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES,
}

# Of any configuration that has a field of this name.
SMALL: dict[str, Any] = {
    **dict.fromkeys(
        ("hidden_size", "d_model", "n_embd", "embedding_size", "word_embed_proj_dim", "emb_dim", "embed_dim"), WIDTH
    ),
    **dict.fromkeys(
        (
            "num_hidden_layers",
            "n_layer",
            "n_layers",
            "num_layers",
            "decoder_layers",
            "encoder_layers",
            "depth",
            "num_decoder_layers",
            "num_encoder_layers",
        ),
        2,
    ),
    **dict.fromkeys(
        (
            "num_attention_heads",
            "n_head",
            "n_heads",
            "num_heads",
            "decoder_attention_heads",
            "encoder_attention_heads",
            "num_encoder_attention_heads",
            "num_decoder_attention_heads",
            "attention_heads",
        ),
        2,
    ),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "kv_n_heads"), 1),
    **dict.fromkeys(("head_dim", "d_kv", "d_head", "dim_head", "attention_head_dim", "attention_head_size"), 16),
    **dict.fromkeys(
        (
            "intermediate_size",
            "d_ff",
            "d_inner",
            "dff",
            "dim_ff",
            "ffn_dim",
            "ffn_hidden_size",
            "decoder_ffn_dim",
            "encoder_ffn_dim",
            "moe_intermediate_size",
            "shared_expert_intermediate_size",
            "feed_forward_size",
            "shared_intermediate_size",
            "dense_intermediate_size",
            "expert_ffn_hidden_size",
            "intermediate_size_mlp",
        ),
        48,
    ),
    **dict.fromkeys(("vocab_size", "src_vocab_size", "tgt_vocab_size", "decoder_vocab_size"), VOCABULARY),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_target_positions"), 128),
    **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "moe_top_k", "top_k_experts"), 2),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "n_group", "topk_group"), 1),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "v_head_dim"), 16),
    "qk_rope_head_dim": 8,
    **dict.fromkeys(("sliding_window", "local_attention", "attention_window_size"), 8),
    **dict.fromkeys(("mamba_d_state", "state_size", "ssm_state_size"), 8),
    # Shorter than the texts, so that they end in the middle of a chunk.
    **dict.fromkeys(("chunk_size", "mamba_chunk_size", "block_size"), 4),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads"), 4),
    **dict.fromkeys(
        (
            "mamba_d_head",
            "mamba_head_dim",
            "linear_key_head_dim",
            "linear_value_head_dim",
            "linear_head_dim",
            "swa_head_dim",
            "index_head_dim",
        ),
        16,
    ),
    **dict.fromkeys(
        (
            "linear_num_key_heads",
            "linear_num_value_heads",
            "linear_num_heads",
            "index_n_heads",
            "swa_num_attention_heads",
        ),
        2,
    ),
    **dict.fromkeys(("n_groups", "mamba_n_groups", "mamba_ngroups", "swa_num_key_value_heads"), 1),
    "mamba_d_ssm": 64,
    "lru_width": WIDTH,
    **dict.fromkeys(
        (
            "out_hidden_size",
            "text_hidden_size",
            "projector_hidden_size",
            "projection_dim",
            "hidden_dim",
            "projection_hidden_dim",
            "projection_hidden_size",
            "output_proj_dims",
            "backbone_hidden_size",
            "hidden_size_global",
            "audio_embed_dim",
            "mm_embed_dim",
            "projection_intermediate_size",
            "vision_hidden_size",
            "pronunciation_embed_dim",
            "shape_embed_dim",
            "image_token_embed_dim",
            "vision_output_dim",
            "projector_input_dim",
            "projector_output_dim",
            "alignment_intermediate_size",
            "router_hidden_size",
        ),
        WIDTH,
    ),
    **dict.fromkeys(
        (
            "codebook_size",
            "num_embeddings",
            "vocab_size_per_layer_input",
            "position_embedding_size",
            "pronunciation_vocab_size",
            "shape_vocab_size",
            "encoder_hash_byte_group_vocab",
        ),
        VOCABULARY,
    ),
    "hidden_size_per_layer_input": 8,
    "num_mel_bins": 8,
    "max_source_positions": 8,
    "num_kv_shared_layers": 0,
    "base_channels": 32,
    "mlp_dim": 48,
    "image_size": 8,
    "patch_size": 4,
    "pad_token_id": PAD,
    "bos_token_id": BEGIN,
    "eos_token_id": END,
    "decoder_start_token_id": BEGIN,
    "dtype": "float32",
    "use_cache": True,
    # So large that layers depend on the tokens before, as trained ones do.
    **dict.fromkeys(("initializer_range", "init_std"), 0.1),
    "is_decoder": True,
    "forced_eos_token_id": None,
    "forced_bos_token_id": None,
}

_MIXED = {"layer_types": ["linear_attention", "full_attention"]}
_ROPE: dict[str, Any] = {"rope_type": "default", "rope_theta": 1e4}
# Rotary positions of three axes, which share half of a head.
_AXES = {"rope_parameters": _ROPE | {"mrope_section": [4, 2, 2]}}
_SHORT = {"downsampling_ratios": (2,), "depths": (1, 1), "num_filters": 8}
_CROSSED = {"decoder": {"add_cross_attention": True}}

# Of configurations of these types, wherever they stand: what the numbers above do not fit, and a layer of each kind.
EXTRAS: dict[str, dict[str, Any]] = {
    "bailing_hybrid": _MIXED,
    "bamba": {"attn_layer_indices": [1]},
    "blt": {"num_hidden_layers": 2},
    "chameleon": {"vocabulary_map": {"<image>": 63}},
    "codegen": {"n_head": 4, "rotary_dim": 4},
    "cohere_compass_text": {"rope_parameters": {"full_attention": _AXES["rope_parameters"]}},
    "dbrx": {"attn_config": {"rope_theta": 1e4, "clip_qkv": 8.0}},
    "cosmos3_edge_text": _AXES,
    "deepseek_ocr2_text": {"mlp_layer_types": ["dense", "sparse"]},
    "diffllama": {"num_key_value_heads": 2},
    "dots3_note_text": {"num_key_value_heads": 2},
    "dots3_note_audio_encoder": {"adapter_input_size": WIDTH, "adapter_out_dim": WIDTH},
    "dots3_note_vision_encoder": {"pyramid_num_routed": [0, 4], "adapter_in_dim": WIDTH, "adapter_out_dim": WIDTH},
    "gemma4_assistant": {
        "text_config": {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0, "num_kv_shared_layers": 2}
    },
    "gemma4_unified_assistant": {"text_config": {"num_kv_shared_layers": 2}},
    "emu3": {"vocabulary_map": {"<image>": 63}},
    "encoder-decoder": _CROSSED,
    "ernie4_5_vl_moe_text": {
        "moe_intermediate_size": [48, 48],
        "rope_parameters": _ROPE | {"mrope_section": [3, 3, 2]},
    },
    "florence_vision": {
        "patch_size": (7, 3, 3, 3),
        "embed_dim": (16, 16, 32, 32),
        "num_heads": (2, 2, 2, 2),
        "num_groups": (2, 2, 2, 2),
        "depths": (1, 1, 1, 1),
    },
    "glm_ocr_text": _AXES,
    "glm4v_text": _AXES,
    "glm4v_moe_text": {"rope_parameters": _ROPE | {"mrope_section": [2, 1, 1], "partial_rotary_factor": 0.5}},
    "glm5_next_text": _MIXED | {"num_key_value_heads": 2, "qk_rope_head_dim": 0},
    "gptj": {"rotary_dim": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granite4_vision": {"deepstack_layer_map": [[-1, 0]], "vision_config": {"hidden_size": 64}},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "hunyuan_vl_text": _AXES,
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": _MIXED,
    "longcat_flash": {"head_dim": 8, "qk_head_dim": 24},
    "lfm3": {"layer_types": ["conv", "full_attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 4},
    "minimax": _MIXED,
    "molmo2_adapter": {"vision_feature_layer": [1, 0]},
    "molmo2_vision": {"image_size": [8, 8]},
    "muse_spark_audio": {"patch_sizes": (2, 2), "hidden_sizes": (32, 32), "depths": (1, 1)},
    "nemotron3_5_transcribe_word_timestamp": {"audio_hidden_size": WIDTH},
    "nemotron3_diarization": {"head_config": {"audio_hidden_size": WIDTH}},
    "nemotron_h": {"layers_block_type": ["mamba", "attention"]},
    "olmo_hybrid": _MIXED,
    "paddleocr_vl_text": _AXES,
    "qwen2_vl_text": _AXES,
    "qwen2_5_vl_text": _AXES,
    "qwen2_5_omni_text": _AXES,
    "qwen4_exp_text": _MIXED
    | {"indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 16}
    | {"indexer_budget": 16, "indexer_compress_ratio": 2},
    "qwen3_5_text": _MIXED,
    "qwen3_5_moe_text": _MIXED,
    "qwen3_next": _MIXED,
    "radio": {"video_temporal_patch_size": 2},
    "recurrent_gemma": {"block_types": ("recurrent", "attention")},
    "reformer": {"axial_pos_embds_dim": (16, 16), "axial_pos_shape": (16, 8), "attn_layers": ("local", "local")},
    # The first of its shared layers lends its weights to the others.
    "vibevoice_acoustic_tokenizer": _SHORT,
    "vibevoice_acoustic_tokenizer_decoder": _SHORT,
    "vibevoice_acoustic_tokenizer_encoder": _SHORT,
    "vision-encoder-decoder": _CROSSED,
    # It rounds its heads up to a multiple of 64.
    "xlstm": {"hidden_size": 128},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "zamba": {"layers_block_type": ["hybrid", "mamba", "hybrid"], "num_hidden_layers": 3},
    "zamba2": {"layers_block_type": ["hybrid", "mamba", "hybrid"], "num_hidden_layers": 3},
    "zaya": {"num_experts_per_tok": 1},
}


# Where numbers do not tell the layers.
LAYERS: dict[str, list[str]] = {"xlm": ["transformer.layer_norm2.0", "transformer.layer_norm2.1"]}


def families() -> Iterator[tuple[str, str, str]]:
    """Go through (kind, family, name of the class) of all that transformers maps, each once."""
    seen = set()
    for kind, mapping in KINDS.items():
        for family, model in mapping.items():
            if (family, model) not in seen:
                seen.add((family, model))
                yield kind, family, model


def small_config(kind: Any, given: dict[str, Any] | None = None) -> Any:
    """Return a configuration with all its parts small."""
    extras = EXTRAS.get(kind.model_type, {}) | (given or {})
    chosen: dict[str, Any] = {}
    special = iter(range(VOCABULARY - 1, TEXT - 1, -1))
    parts = getattr(kind, "sub_configs", {})
    for field in dataclasses.fields(kind):
        if field.name in SMALL:
            chosen[field.name] = SMALL[field.name]
        elif field.name.endswith(("_token_id", "_token_index")) and isinstance(field.default, int):
            chosen[field.name] = next(special)
    for name, declared in parts.items():
        usual = getattr(kind, "sub_configs_defaults", {}).get(name)
        part = declared
        if declared is transformers.AutoConfig:
            part = type(getattr(kind(), name)) if usual is None else CONFIG_MAPPING[usual.model_type]
        if part is not type(None):
            chosen[name] = small_config(part, extras.get(name, {}))
    if {"kv_lora_rank", "num_key_value_heads"} <= chosen.keys():
        chosen["num_key_value_heads"] = chosen["num_attention_heads"]
    return kind(**(chosen | {name: value for name, value in extras.items() if name not in parts}))


def build(kind: str, family: str) -> nn.Module:
    """Return a tiny random model of a family, in evaluation mode, the same one each time."""
    architecture = getattr(transformers, KINDS[kind][family])
    config = small_config(CONFIG_MAPPING[family])
    # Some are of a part alone, as the automatic classes know.
    for name in getattr(config, "sub_configs", {}):
        part = getattr(config, name, None)
        if type(part) is architecture.config_class:
            config = part
    torch.manual_seed(0)
    return architecture(config).eval()


def context(family: str, model: Any) -> dict[str, Tensor]:
    """Return what every call takes beside the text, of two rows: a source for an encoder, or a picture."""
    generator = torch.Generator().manual_seed(3)
    picture = torch.randn(2, 3, 8, 8, generator=generator)
    source = torch.randint(3, TEXT, (2, 5), generator=generator)
    mask = torch.ones_like(source)
    mask[0, -1] = 0
    if family in {"blip", "pp_formulanet", "vision-encoder-decoder"}:
        return {"pixel_values": picture}
    if family == "pix2struct":
        return {"flattened_patches": torch.rand(2, 4, 2 + 3 * 16 * 16, generator=generator)}
    if not getattr(model.config, "is_encoder_decoder", False):
        return {}
    takes = signature(model.forward).parameters
    if "input_features" in takes:
        return {"input_features": torch.randn(2, 8, 16, generator=generator)}
    if "input_values" in takes:
        return {"input_values": torch.randn(2, 800, generator=generator)}
    boxes = {"bbox": torch.zeros(2, 5, 4)} if family == "udop" else {}
    return {"input_ids": source, "attention_mask": mask} | boxes
