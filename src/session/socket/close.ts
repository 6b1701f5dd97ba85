/** Every code that this server closes a socket with. */
export const closeCodes = {
  /** The session was ended as asked. */
  done: 1000,
  /** The server stops. */
  goingAway: 1001,
  /** Binary frames: this server speaks JSON text. */
  unsupported: 1003,
  /** A limit or rule was broken; the reason starts with its code. */
  policy: 1008,
  /** A frame over the size limit. */
  tooLarge: 1009,
  /** The server failed; its log says why. */
  internal: 1011,
  /** Not now: come back later. */
  tryAgain: 1013,
  /** The access token is missing, was not given in time, or ran out. */
  unauthorised: 4401,
  /** Another connection took the session over. */
  replaced: 4409,
} as const;

export type CloseName = keyof typeof closeCodes;
export type CloseCode = (typeof closeCodes)[CloseName];

/** Whether a client that closed so may be back at once, with nothing being made for it. */
export function mayComeBack(code: number): boolean {
  const broken = 1006;
  // Browsers say that they go away when a page is left and when it is loaded again.
  return code === broken || code === closeCodes.goingAway;
}

const maxReasonBytes = 123;

/** Cut to what a close frame can carry, never inside a character. */
export function closeReason(text: string): string {
  if (Buffer.byteLength(text) <= maxReasonBytes) return text;
  let cut = '';
  let bytes = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > maxReasonBytes) break;
    cut += character;
  }
  return cut;
}
