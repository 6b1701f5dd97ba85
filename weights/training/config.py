"""Sizes of the bundled checkpoint and the training schedule."""

PX, FPS, WINDOW, STEPS = 128, 24, 12, 6

UNET = {
    "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.24.0.dev0",
    "act_fn": "silu", "attention_head_dim": 2, "block_out_channels": [64, 64, 96, 96],
    "center_input_sample": False, "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "downsample_padding": 1, "dropout": 0.0, "flip_sin_to_cos": True, "freq_shift": 0,
    "in_channels": 4, "layers_per_block": 1, "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn", "norm_eps": 1e-05, "norm_num_groups": 8,
    "out_channels": 4, "resnet_time_scale_shift": "default", "sample_size": PX // 8,
    "transformer_layers_per_block": 1,
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "upcast_attention": False, "use_linear_projection": False,
}
VAE = {
    "_class_name": "AutoencoderKL", "_diffusers_version": "0.24.0.dev0", "act_fn": "silu",
    "block_out_channels": [16, 32, 64, 64],
    "down_block_types": ["DownEncoderBlock2D"] * 4, "force_upcast": True, "in_channels": 3,
    "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 2, "out_channels": 3,
    "sample_size": PX, "scaling_factor": 0.18215, "up_block_types": ["UpDecoderBlock2D"] * 4,
}
DIMS = {
    "n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 192, "n_audio_head": 4,
    "n_audio_layer": 1, "n_vocab": 64, "n_text_ctx": 8, "n_text_state": 192,
    "n_text_head": 4, "n_text_layer": 0,
}
LOCATOR = [8, 16, 24, 32]
CONFIG = {"unet": UNET, "vae": VAE, "dims": DIMS, "locator": LOCATOR}

TRAIN_UTTERANCES, HELD_OUT_UTTERANCES, IDENTITIES = 180, 24, 1500

# Steps of each stage; WORK/schedule.json overrides them, also while a stage runs.
SCHEDULE = {"audio": 500, "vae": 950, "spatial": 1500, "motion": 460, "decoder": 280}
