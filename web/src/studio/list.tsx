import { useEffect, useRef, useState } from 'preact/hooks';
import { t } from '../i18n/index.js';
import { Notice } from '../parts/notice.js';
import { RenderCard } from './card.js';
import { stageOf } from './stage.js';
import { isAway, renders } from './renders.js';

/** What this browser had rendered, the newest first. */
export function RenderList() {
  const { studio } = t();
  const all = renders.value;
  return (
    <section class="stack studio-list" aria-labelledby="studio-list">
      <h2 id="studio-list">{studio.renders}</h2>
      {isAway.value && <Notice kind="info">{studio.away}</Notice>}
      {all.length === 0 ? (
        <p class="studio-empty quiet">{studio.none}</p>
      ) : (
        <ol class="card-list">
          {all.map((render) => (
            <RenderCard key={render.id} render={render} />
          ))}
        </ol>
      )}
      <News />
      <p class="hint">{studio.keptHere}</p>
    </section>
  );
}

/** Reads out what became of renders: stages, not percentages. */
function News() {
  const known = useRef(new Map<string, string>());
  const [text, setText] = useState('');
  useEffect(() => {
    for (const render of renders.value) {
      const stage = stageOf(render);
      const before = known.current.get(render.id);
      known.current.set(render.id, stage);
      if (before !== undefined && before !== stage) setText(`${render.portrait}: ${stage}`);
    }
  }, [renders.value]);
  return (
    <p class="visually-hidden" aria-live="polite">
      {text}
    </p>
  );
}
