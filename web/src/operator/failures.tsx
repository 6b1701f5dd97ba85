import { t } from '../i18n/index.js';
import { dateTime } from '../time.js';
import { failures } from './watch.js';

/** The last tasks that failed. */
export function LastFailures() {
  const { operator } = t();
  const last = failures.value?.failures ?? [];
  return (
    <section class="stack" aria-labelledby="operator-failures">
      <h2 id="operator-failures">{operator.failures}</h2>
      {last.length === 0 ? (
        <p class="quiet">{operator.noFailures}</p>
      ) : (
        <ol class="operator-rows" tabIndex={0} aria-labelledby="operator-failures">
          {last.map(({ task_id, code, error, at, attempt }) => (
            <li key={`${task_id} ${at}`}>
              <p>
                <code>{code}</code> <span class="quiet">{dateTime(Date.parse(at))}</span>
              </p>
              <p>{error}</p>
              <p class="quiet operator-id">
                {task_id || operator.nameless} · {operator.attempts(attempt)}
              </p>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}
