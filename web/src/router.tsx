import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';

/** The path of the page that is shown. */
export const path = signal(location.pathname);

addEventListener('popstate', () => (path.value = location.pathname));

export function navigate(to: string): void {
  if (to === path.value) return;
  history.pushState(null, '', to);
  path.value = to;
  scrollTo(0, 0);
}

/** A link to a page of ours; new tabs and the like are left to the browser. */
export function Link({ to, children }: { to: string; children: ComponentChildren }) {
  return (
    <a
      href={to}
      aria-current={path.value === to ? 'page' : undefined}
      onClick={(event) => {
        const { altKey, ctrlKey, metaKey, shiftKey, button } = event;
        if (altKey || ctrlKey || metaKey || shiftKey || button !== 0) return;
        event.preventDefault();
        navigate(to);
      }}
    >
      {children}
    </a>
  );
}
