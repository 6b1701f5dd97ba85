import { ApiError } from './errors.js';

/** Browsers' WebSocket, Node's since 22, or that of the package `ws`. */
export type WebSocketConstructor = new (url: string) => object;

interface Socket {
  readonly readyState: number;
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onerror: ((event: { readonly message?: string }) => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export interface LineEnd {
  readonly code: number;
  readonly reason: string;
  /** What went wrong, where that is told; browsers do not. */
  readonly problem: string | undefined;
}

export interface LineEvents {
  open(): void;
  frame(frame: object): void;
  /** Once, whatever ends it. */
  end(end: LineEnd): void;
}

export interface Line {
  send(text: string): void;
  /** Closes it, connected or not; a code says what that means. */
  drop(code?: number): void;
}

/** `http://host` → `ws://host/ws`. */
export function lineUrl(base: string | undefined): string {
  const { location } = globalThis as { location?: { origin: string } };
  return `${(base || location?.origin || '').replace(/^http/, 'ws').replace(/\/+$/, '')}/ws`;
}

/** One connection; what arrives is a JSON object or is left out. */
export function openLine(
  url: string,
  given: WebSocketConstructor | undefined,
  events: LineEvents,
): Line {
  const known = given ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (known === undefined) {
    throw new ApiError('UNEXPECTED', 'there is no WebSocket here: give one, such as that of "ws"');
  }
  const socket = new known(url) as Socket;
  let problem: string | undefined;
  socket.onopen = () => events.open();
  socket.onmessage = ({ data }) => {
    const frame: unknown = JSON.parse(String(data));
    if (typeof frame === 'object' && frame !== null) events.frame(frame);
  };
  socket.onerror = ({ message }) => (problem = message);
  socket.onclose = ({ code, reason }) => events.end({ code, reason, problem });
  return {
    send: (text) => socket.send(text),
    drop: (code) => socket.close(code),
  };
}
