/** `gpu` counts as CUDA does, among the GPUs that this process sees; undefined: the first that can. */
export type VideoEncoder =
  { readonly name: 'x264' } | { readonly name: 'nvenc'; readonly gpu?: number };

/** How frames become H.264. Another encoder adds an entry here and nothing elsewhere. */
const encoders = {
  x264: () => ['-c:v', 'libx264', '-preset', 'veryfast', '-crf', '18', '-profile:v', 'high'],
  // Constant quality, on the scale of x264's: without a bit rate, or that would be the limit.
  nvenc: (gpu: number | undefined) => [
    ...['-c:v', 'h264_nvenc', '-gpu', gpu === undefined ? 'any' : String(gpu)],
    ...['-preset', 'p5', '-tune', 'hq', '-rc', 'vbr', '-cq', '19', '-b:v', '0'],
    ...['-profile:v', 'high'],
  ],
};

/** Frames arrive as full-range RGB; players get BT.709, said in the file, at 4:2:0. */
const COLOUR = [
  '-vf',
  'scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int,format=yuv420p',
  ...['-colorspace', 'bt709', '-color_primaries', 'bt709', '-color_trc', 'bt709'],
  ...['-color_range', 'tv'],
];

export function videoArguments(encoder: VideoEncoder, fps: number): string[] {
  const chosen = encoder.name === 'nvenc' ? encoders.nvenc(encoder.gpu) : encoders.x264();
  return [...COLOUR, ...chosen, '-g', String(Math.max(1, Math.round(fps * 2)))];
}

/** Of a clip's sound, which comes as samples. */
export function audioArguments({ channels }: { channels: number }): string[] {
  return ['-c:a', 'aac', '-b:a', channels > 1 ? '160k' : '96k'];
}
