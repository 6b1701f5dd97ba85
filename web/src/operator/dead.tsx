import { useState } from 'preact/hooks';
import type { Failures } from '../../../src/client/index.js';
import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { Confirm } from '../parts/dialog.js';
import { dateTime } from '../time.js';
import { act } from './news.js';
import { failures, operator as server } from './watch.js';

type Dead = Failures['dead'][number];

/** Tasks that nobody tries again unless the operator says so. */
export function DeadLetters() {
  const { operator } = t();
  const { dead = [], dead_total: total = 0 } = failures.value ?? {};
  return (
    <section class="stack" aria-labelledby="operator-dead">
      <h2 id="operator-dead">{operator.dead}</h2>
      <p class="hint">{operator.deadHint}</p>
      {dead.length === 0 ? (
        <p class="quiet">{operator.noDead}</p>
      ) : (
        <ul class="operator-rows" tabIndex={0} aria-labelledby="operator-dead">
          {dead.map((one) => (
            <DeadRow key={one.id} dead={one} />
          ))}
        </ul>
      )}
      {total > dead.length && <p class="hint">{operator.moreDead(total - dead.length)}</p>}
    </section>
  );
}

function DeadRow({ dead }: { dead: Dead }) {
  const { operator } = t();
  const [isDropping, setDropping] = useState(false);
  const { id, task_id, code, error, at, attempts, whole, of_session, queue } = dead;
  const name = task_id || operator.nameless;
  return (
    <li>
      <p>
        <code>{code}</code> <span class="quiet">{dateTime(Date.parse(at))}</span>
      </p>
      <p>{error}</p>
      <p class="quiet operator-id">
        {name} · {queue}
        {attempts !== undefined && ` · ${operator.attempts(attempts)}`}
      </p>
      <div class="row">
        <Button
          aria-label={`${operator.requeue}: ${name}`}
          disabled={!whole || of_session}
          onClick={() => void act(() => server.requeue(id), operator.requeued(name))}
        >
          {operator.requeue}
        </Button>
        <Button
          aria-label={`${operator.drop}: ${name}`}
          look="quiet"
          icon="bin"
          onClick={() => setDropping(true)}
        >
          {operator.drop}
        </Button>
      </div>
      {!whole && <p class="hint">{operator.notWhole}</p>}
      {of_session && <p class="hint">{operator.ofSession}</p>}
      {isDropping && (
        <Confirm
          title={operator.dropTitle}
          action={operator.drop}
          onClose={() => setDropping(false)}
          onConfirm={() => {
            setDropping(false);
            void act(() => server.drop(id), operator.dropped(name));
          }}
        >
          {operator.dropHint(name)}
        </Confirm>
      )}
    </li>
  );
}
