/**
 * Keys that a sound checkpoint may hold although no network here reads them. Everything else that
 * is left over is refused, because a key nobody knows means that a part of the model is missing
 * from the graphs.
 */
export interface IgnoredKeys {
  readonly pattern: RegExp;
  readonly reason: string;
}

export const ignoredKeys = {
  denoising: [] as readonly IgnoredKeys[],
  reference: [
    {
      pattern: /\.transformer_blocks\.\d+\.(attn2|norm2)\./,
      reason: 'the reference UNet runs without text: its cross-attention is skipped',
    },
    {
      pattern: /^conv_(norm_out|out)\./,
      reason: 'only the attention inputs of the reference UNet are used, not its output',
    },
  ],
  faceLocator: [],
  vae: [],
  whisper: [
    { pattern: /^decoder\./, reason: 'only the encoder listens' },
    {
      pattern: /^encoder\.ln_post\./,
      reason: 'the states before the last norm are the features',
    },
  ],
} as const satisfies Record<string, readonly IgnoredKeys[]>;
