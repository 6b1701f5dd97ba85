/** What the worker needs of media: pictures in, engine input out, and frames into an MP4. */
export type { Pixels, Rect } from './crop.js';
export { chooseEncoder, type EncoderWish } from './choose-encoder.js';
export type { VideoEncoder } from './encoder.js';
export type { Mark } from './mark.js';
export { closeFaceDetector, warmFaceDetector } from './face.js';
export { preparePortrait, type Portrait, type PortraitOptions } from './portrait.js';
export { openVideo, type VideoOptions, type VideoWriter } from './video.js';
