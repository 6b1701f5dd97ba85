import { type IncomingMessage, type ServerResponse, createServer, request } from 'node:http';
import type { Test } from 'tap';
import type { Gate } from './gates.js';

export interface ApiProxy {
  readonly url: string;
  /** The status of every answer so far. */
  readonly statuses: number[];
  /** Answers everything with this status until it is undefined. */
  refuse: number | undefined;
  cut(): void;
}

/** A line to the API at `port` that can be held, cut, and made to refuse. */
export async function startApiProxy(
  t: Test,
  port: number,
  gateOf: (message: IncomingMessage) => Promise<Gate | undefined>,
): Promise<ApiProxy> {
  const server = createServer((incoming, outgoing) => {
    void serve(incoming, outgoing).catch(() => outgoing.destroy());
  });
  const proxy: ApiProxy = {
    url: '',
    statuses: [],
    refuse: undefined,
    cut: () => server.closeAllConnections(),
  };

  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const gate = await gateOf(incoming);
    const isUpload = incoming.method === 'POST';
    const isHeld = gate?.take() === true;
    if (!isUpload && isHeld) await gate?.opened;
    const { refuse } = proxy;
    // An upload that was held is refused at its end.
    if (refuse !== undefined && !(isUpload && isHeld)) return answer(incoming, outgoing, refuse);
    const upstream = request({
      ...{ host: '127.0.0.1', port, method: incoming.method, path: incoming.url },
      headers: incoming.headers,
    });
    upstream.on('error', () => outgoing.destroy());
    outgoing.on('close', () => upstream.destroy());
    upstream.on('response', (response) => {
      const status = response.statusCode ?? 502;
      proxy.statuses.push(status);
      outgoing.writeHead(status, response.headers);
      response.on('error', () => outgoing.destroy());
      response.pipe(outgoing);
    });
    if (!isUpload) return void upstream.end();
    let rest = isHeld;
    for await (const chunk of incoming as AsyncIterable<Buffer>) {
      if (!rest) {
        upstream.write(chunk);
        continue;
      }
      rest = false;
      upstream.write(chunk.subarray(0, -8));
      await gate?.opened;
      const late = proxy.refuse;
      if (late !== undefined) {
        upstream.destroy();
        return answer(incoming, outgoing, late);
      }
      upstream.write(chunk.subarray(-8));
    }
    upstream.end();
  }

  function answer(incoming: IncomingMessage, outgoing: ServerResponse, status: number): void {
    proxy.statuses.push(status);
    incoming.resume();
    outgoing.writeHead(status, { 'content-type': 'application/json' });
    outgoing.end(JSON.stringify({ success: false, message: `refused with ${status}` }));
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return Object.assign(proxy, {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
  });
}
