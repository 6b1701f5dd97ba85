import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { t } from '../i18n/index.js';

let hasBegun = false;

/** A page with its one heading, which gets the focus when the page is opened from another one. */
export function Page({
  title,
  isTitleHidden = false,
  wide = false,
  children,
}: {
  title: string;
  isTitleHidden?: boolean;
  wide?: boolean;
  children: ComponentChildren;
}) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · ${t().common.brand}`;
  }, [title]);
  useEffect(() => {
    // The browser itself begins with the first page.
    if (hasBegun) heading.current?.focus();
    hasBegun = true;
  }, []);
  return (
    <div class={wide ? 'page page-wide' : 'page'}>
      <h1 ref={heading} tabIndex={-1} class={isTitleHidden ? 'visually-hidden' : undefined}>
        {title}
      </h1>
      {children}
    </div>
  );
}
