import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Ledger, refusalBody } from './ledger.js';
import type { HttpStep, RefusalStep } from './plan.js';

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly body: Buffer;
}

export function refuse(response: ServerResponse, step: RefusalStep): void {
  const { status, retryAfter } = step;
  response.writeHead(status, {
    'content-type': 'application/json',
    ...(retryAfter === undefined ? {} : { 'retry-after': retryAfter }),
  });
  response.end(refusalBody(step));
}

export function answer(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json;charset=UTF-8' });
  response.end(JSON.stringify(body));
}

/** Acts out a step; `well` is what happens without one. */
export function act(
  ledger: Ledger,
  step: HttpStep | undefined,
  response: ServerResponse,
  well: () => void,
): void {
  if (step === undefined) well();
  else if ('refuse' in step) refuse(response, step.refuse);
  else if ('raw' in step) {
    const { status = 200, type = 'application/json', raw } = step;
    response.writeHead(status, { 'content-type': type }).end(raw);
  } else if ('cut' in step) {
    if (step.cut === 'before') response.destroy();
    else {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
      response.write('{"output":', () => response.destroy());
    }
  } else if ('delayMs' in step) ledger.later(well, step.delayMs);
}

/** A stream as the service sends it at its worst. */
export function stream(response: ServerResponse, text: string): void {
  const third = Math.ceil([...text].length / 3);
  const pieces = [0, 1, 2].map((i) => [...text].slice(i * third, (i + 1) * third).join(''));
  const events = [
    ...pieces.flatMap((piece, i) => [
      envelope(piece === '' ? [] : [{ text: piece }], 'null'),
      ...(i === 1 ? [envelope([], 'null')] : []),
    ]),
    envelope([], 'stop'),
  ];
  const whole = Buffer.from(
    events
      .map((event, i) => {
        const data = JSON.stringify(event, undefined, i % 2).split('\n');
        const lines = [`id:${i + 1}`, 'event:result', ':HTTP_STATUS/200', 'status:200'];
        return `:heartbeat\n\nkeepalive\n\n${[...lines, ...data.map((line) => `data:${line}`)].join('\n')}\n\n`;
      })
      .join(''),
  );
  response.writeHead(200, { 'content-type': 'text/event-stream;charset=UTF-8' });
  // pieces that end anywhere, also within a character
  for (let at = 0; at < whole.length; at += 61) response.write(whole.subarray(at, at + 61));
  response.end();
}

export function envelope(content: unknown, reason: string | null): unknown {
  return {
    output: { choices: [{ finish_reason: reason, message: { role: 'assistant', content } }] },
    usage: { input_tokens: 20, output_tokens: 5, audio_tokens: 70 },
    request_id: randomUUID(),
  };
}
