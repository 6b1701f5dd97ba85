import { signal } from '@preact/signals';
import { type Failure, describe, failureOf } from '../failure.js';
import { Notice } from '../parts/notice.js';
import { refresh } from './watch.js';

const done = signal('');
const problem = signal<Failure | undefined>();

/** Does what the operator asked for, says what came of it, and looks again. */
export async function act(work: () => Promise<unknown>, words: string): Promise<void> {
  problem.value = undefined;
  done.value = '';
  try {
    await work();
    done.value = words;
  } catch (error) {
    problem.value = failureOf(error);
  }
  refresh();
}

export function News() {
  return (
    <>
      <p class={done.value === '' ? 'visually-hidden' : 'operator-news'} role="status">
        {done.value}
      </p>
      {problem.value && (
        <Notice onClose={() => (problem.value = undefined)}>{describe(problem.value)}</Notice>
      )}
    </>
  );
}
