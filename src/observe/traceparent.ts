const version0 = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;
const nothing = /^0+$/;

/** The parts of a W3C traceparent of version 00; undefined for anything else. */
export function readTraceparent(
  text: unknown,
): { readonly traceId: string; readonly spanId: string; readonly traceFlags: number } | undefined {
  if (typeof text !== 'string') return undefined;
  const [, traceId = '0', spanId = '0', flags = '0'] = version0.exec(text) ?? [];
  if (nothing.test(traceId) || nothing.test(spanId)) return undefined;
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1 };
}

export function isTraceparent(text: unknown): text is string {
  return readTraceparent(text) !== undefined;
}
