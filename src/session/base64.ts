import { CodedError } from '../errors.js';

/**
 * The bytes of a Base64 text in the standard alphabet, padded; line breaks, which some encoders
 * put in, are let pass. FRAME_INVALID names the field.
 */
export function decodeBase64(text: string, field: string): Buffer {
  const whole = /[\r\n]/.test(text) ? text.replace(/[\r\n]+/g, '') : text;
  const padding = whole.endsWith('==') ? 2 : whole.endsWith('=') ? 1 : 0;
  const data = Buffer.from(whole, 'base64');
  // what is no Base64 is passed over by the decoder, so that bytes are missing
  const isWhole = whole.length % 4 === 0 && data.length === (whole.length / 4) * 3 - padding;
  if (!isWhole || /[-_]/.test(whole)) {
    throw new CodedError(
      'FRAME_INVALID',
      `${field}: expected padded Base64 of the standard alphabet (A-Z a-z 0-9 + /)`,
    );
  }
  return data;
}
