import { signal } from '@preact/signals';

const query = matchMedia('(max-width: 640px)');

/** Whether there is room for a phone's layout only. */
export const isNarrow = signal(query.matches);

query.addEventListener('change', ({ matches }) => (isNarrow.value = matches));
