import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { info, localUrl, needsLogin, server } from './server.js';
import { Icon } from './parts/icon.js';
import { saveAs } from './save-as.js';

/**
 * Whether the page has to fetch a file itself. A server with API_TOKEN gives files to whoever
 * shows a login, and what an <img>, <audio> or <video> fetches by itself shows none. A server that
 * has not said yet may be one of those.
 */
const isGuarded = (url: string): boolean =>
  info.value?.api_token !== false && localUrl(url).startsWith('/api/tempfile/');

/**
 * Tells where the page shows or plays a file from: at once, or when it was fetched; undefined when
 * that failed. Returns what lets go of it.
 */
export function withFile(url: string, then: (source: string | undefined) => void): () => void {
  if (!isGuarded(url)) {
    then(localUrl(url));
    return () => undefined;
  }
  const over = new AbortController();
  let source: string | undefined;
  server
    .download(localUrl(url), { signal: over.signal })
    .then((answer) => answer.blob())
    .then(
      (blob) => {
        if (over.signal.aborted) return;
        source = URL.createObjectURL(blob);
        then(source);
      },
      () => over.signal.aborted || then(undefined),
    );
  return () => {
    over.abort();
    if (source !== undefined) URL.revokeObjectURL(source);
  };
}

/** As `withFile`, for as long as a part is shown: `isMissing` when it could not be fetched. */
export function useFile(url: string): { source?: string | undefined; isMissing: boolean } {
  const isFetched = isGuarded(url);
  const isRefused = needsLogin.value;
  const [fetched, setFetched] = useState<{ source: string | undefined }>();
  useEffect(() => {
    setFetched(undefined);
    return isFetched ? withFile(url, (source) => setFetched({ source })) : undefined;
  }, [url, isFetched, isRefused]);
  if (!isFetched) return { source: localUrl(url), isMissing: false };
  return { source: fetched?.source, isMissing: fetched !== undefined && !fetched.source };
}

/** A picture of the server, or of this page. */
export function Picture({ url, ...look }: { url: string; alt: string; class?: string }) {
  return <img src={useFile(url).source} {...look} />;
}

/** A link that keeps a file, under the name that the server gave it if it has no other. */
export function SaveLink({
  url,
  name,
  look,
  children,
}: {
  url: string;
  name?: string;
  look: 'main' | 'quiet';
  children: ComponentChildren;
}) {
  const save = (event: Event) => {
    if (!isGuarded(url)) return;
    event.preventDefault();
    server
      .download(localUrl(url))
      .then((answer) => saveAs(answer, name))
      .catch(() => undefined);
  };
  return (
    <a class={`button button-${look}`} href={localUrl(url)} download={name ?? true} onClick={save}>
      <Icon name="download" />
      {children}
    </a>
  );
}
