import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { CodedError } from '../errors.js';

/**
 * The data of a frame, after its schema; what else it holds is left alone. FRAME_INVALID names the
 * field and says what was expected; a schema's `description` says it better than JSON Schema does.
 */
export function checkData<T extends TSchema>(schema: T, data: unknown, frame: string): Static<T> {
  if (Value.Check(schema, data)) return data;
  if (typeof data !== 'object' || data === null) {
    throw invalid(`${frame}: data: expected an object, got ${shown(data)}`);
  }
  const [error] = Value.Errors(schema, data);
  const params = (error?.params ?? {}) as { requiredProperties?: string[] };
  const path = error?.instancePath.slice(1).split('/').filter(Boolean) ?? [];
  const missing = error?.keyword === 'required' ? params.requiredProperties?.[0] : undefined;
  const [field = missing ?? ''] = path;
  const value = (data as Record<string, unknown>)[field];
  const { properties } = schema as { properties?: Record<string, { description?: string }> };
  const expected = properties?.[field]?.description;
  const found = value === undefined ? 'it is missing' : `got ${shown(value)}`;
  throw invalid(
    expected === undefined
      ? `${frame}: data.${field} ${error?.message ?? 'is wrong'}; ${found}`
      : `${frame}: data.${field}: expected ${expected}; ${found}`,
  );
}

/**
 * The bytes of a Base64 text in the standard alphabet, padded; line breaks, which some encoders
 * put in, are let pass. FRAME_INVALID names the field.
 */
export function decodeBase64(text: string, field: string): Buffer {
  const whole = /[\r\n]/.test(text) ? text.replace(/[\r\n]+/g, '') : text;
  if (whole.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(whole)) {
    throw invalid(`${field}: expected padded Base64 of the standard alphabet (A-Z a-z 0-9 + /)`);
  }
  return Buffer.from(whole, 'base64');
}

function invalid(message: string): CodedError {
  return new CodedError('FRAME_INVALID', message);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
