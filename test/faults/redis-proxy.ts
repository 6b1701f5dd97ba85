import { type Socket, connect, createServer } from 'node:net';
import type { Test } from 'tap';
import type { Gate } from './gates.js';

export interface RedisProxy {
  readonly port: number;
  /** Cuts every connection, as a switch that loses power. */
  cut(): void;
  /** The lines of now carry nothing any more, and nobody ends them, as when a machine loses power. */
  silence(): void;
}

export interface Holds {
  /** What is sent is held before it arrives. */
  request(chunk: Buffer): Gate | undefined;
  /** What is sent arrives; the answers are held. */
  answer(chunk: Buffer): Gate | undefined;
}

/** A line to Redis that can be held or cut. */
export async function startRedisProxy(t: Test, port: number, holds: Holds): Promise<RedisProxy> {
  const sockets = new Set<Socket>();
  const silent = new WeakSet<Socket>();
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port, host: '127.0.0.1', noDelay: true });
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
    upstream.on('data', (chunk: Buffer) => {
      if (!silent.has(upstream)) client.write(chunk);
    });
    client.on('data', (chunk: Buffer) => void forward(chunk));
    client.on('end', () => upstream.end());

    const forward = async (chunk: Buffer): Promise<void> => {
      const before = holds.request(chunk);
      if (before?.take() === true) {
        client.pause();
        await before.opened;
        client.resume();
      }
      const after = holds.answer(chunk);
      if (after?.take() === true) {
        upstream.pause();
        void after.opened.then(() => upstream.resume());
      }
      if (!upstream.destroyed && !silent.has(upstream)) upstream.write(chunk);
    };
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const silence = () => {
    for (const socket of sockets) silent.add(socket);
  };
  t.teardown(() => {
    cut();
    server.close();
  });
  return { port: (server.address() as { port: number }).port, cut, silence };
}
