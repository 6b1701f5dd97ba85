/** What the worker needs of media: uploads in, engine input out, and frames into an MP4. */
export {
  DEFAULT_MAX_SECONDS,
  SAMPLE_RATE,
  decodeAudio,
  probeAudio,
  type AudioInfo,
  type DecodeOptions,
} from './audio.js';
export type { Pixels, Rect } from './crop.js';
export { closeFaceDetector, warmFaceDetector } from './face.js';
export { preparePortrait, type Portrait, type PortraitOptions } from './portrait.js';
export { openVideo, type VideoOptions, type VideoWriter } from './video.js';
