import type { Log } from '../../src/log.js';
import type { Claim, WorkerQueue } from '../../src/queue/worker-queue.js';

/**
 * Renews a claim at half its lease for as long as the work goes on. When the claim is lost,
 * `onLost` is called once; a Redis that does not answer is no loss, the lease may outlive that.
 */
export function keepLease(
  queue: WorkerQueue,
  claim: Claim,
  leaseMs: number,
  log: Log,
  onLost: () => void,
): { stop(): void } {
  let renewing = false;
  const timer = setInterval(() => {
    if (renewing) return;
    renewing = true;
    queue
      .renew(claim)
      .then((ours) => {
        if (ours) return;
        clearInterval(timer);
        onLost();
      })
      .catch((err: unknown) => log.warn({ err, task: claim.taskId }, 'could not renew the lease'))
      .finally(() => (renewing = false));
  }, leaseMs / 2);
  return { stop: () => clearInterval(timer) };
}
