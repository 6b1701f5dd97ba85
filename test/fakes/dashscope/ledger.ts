import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Asked, Plan, RefusalStep } from './plan.js';

export interface Identity {
  readonly apiKey: string;
  /** Demanded when it is given. */
  readonly workspace: string | undefined;
}

/** What all parts of the fake share: who may ask, what was asked, what was wrong with it. */
export class Ledger {
  readonly requests: Asked[] = [];
  /** Everything a client did that the protocol forbids. */
  readonly violations: string[] = [];
  readonly plan: Plan = { recognise: [], policy: [], upload: [], handshake: [], speak: [] };
  readonly #identity: Identity;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(identity: Identity) {
    this.#identity = identity;
  }

  /** Notes a breach of the protocol, and gives the refusal that answers it. */
  violation(text: string, code = 'InvalidParameter', status = 400): RefusalStep {
    this.violations.push(text);
    return { status, code, message: text };
  }

  /** The refusal of a caller who may not ask. A wrong key is no breach, a missing one is. */
  stranger(headers: IncomingHttpHeaders): RefusalStep | undefined {
    const given = headers.authorization;
    if (given === undefined) {
      return this.violation('No API-key provided.', 'InvalidApiKey', 401);
    }
    const key = /^bearer (\S+)$/i.exec(given)?.[1];
    if (key === undefined) {
      return this.violation('authorization is no bearer key', 'InvalidApiKey', 401);
    }
    if (key !== this.#identity.apiKey) {
      // as careless as servers are
      const message = `Incorrect API key provided: ${key}.`;
      return { status: 401, code: 'InvalidApiKey', message };
    }
    const { workspace } = this.#identity;
    if (workspace !== undefined && headers['x-dashscope-workspace'] !== workspace) {
      return { status: 403, code: 'AccessDenied', message: 'Workspace access denied.' };
    }
    return undefined;
  }

  /** A timer that ends with the fake. */
  later(work: () => void, ms: number): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, ms);
    this.#timers.add(timer);
    return timer;
  }

  forget(timer: NodeJS.Timeout | undefined): void {
    if (timer === undefined) return;
    clearTimeout(timer);
    this.#timers.delete(timer);
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}

export function refusalBody({ code, message }: RefusalStep): string {
  return JSON.stringify({ code, message, request_id: randomUUID() });
}
