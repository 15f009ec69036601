"use strict";
// Utterances word under word, sorted and filtered; the words, pairs, speakers and lengths that changed.

const AT_ONCE = 20; // utterances listed before "more" is pressed
const FIRST = 3; // of those that got worse, on the first screen
const SPACELESS = /[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Thai}\p{sc=Laoo}\p{sc=Khmr}\p{sc=Mymr}\p{sc=Tibt}]/u; // scripts

/** Where sets and transcripts come from: the file itself, or the server that shows a study. */
class Source {
  constructor(contents) {
    this.contents = contents;
    this.sets = contents.sets || [];
  }
  async set(name) {
    const found = this.sets.find((each) => each.name === name);
    if (this.contents.live && !found.references) Object.assign(found, await this.ask(`sets/${name}`));
    return found;
  }
  async heard(set, key) {
    if (!set.heard[key]) set.heard[key] = await this.ask(`sets/${set.name}/heard/${key}`);
    const found = set.heard[key];
    if (key !== "baseline" && !found.whole) {
      const before = await this.heard(set, "baseline");
      found.rows = found.rows.map((row, index) => row || before.rows[index]); // 0: the same words
      found.whole = true;
    }
    return found;
  }
  async ask(path) {
    const answer = await fetch(path);
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  }
  /** Address of the audio, or nothing where this file does not hold it. */
  audio(set, row) {
    if (this.contents.live) return set.playable[row] ? `sets/${set.name}/audio/${set.rows[row]}` : null;
    return this.contents.clips[`${set.name}/${set.rows[row]}`] || null;
  }
}

function wordsOf(text) {
  return text ? text.split(" ") : [];
}

function errorsOf(letters) {
  return letters.length - (letters.match(/=/g) || []).length;
}

/** Lists of [letter, word] for each place of the reference: words put in before it, and what stands at it. */
function places(reference, row) {
  const [heard, letters] = row;
  const words = wordsOf(heard);
  const found = [];
  let put = [];
  let next = 0;
  for (const letter of letters) {
    const word = letter === "D" ? "∅" : words[next++];
    if (letter === "I") put.push(word);
    else {
      found.push({ put, letter, word });
      put = [];
    }
  }
  found.push({ put, letter: "", word: "" });
  return found;
}

function marked(letter, word) {
  if (!word) return element("div", {}, " ");
  if (letter === "=") return element("div", {}, word);
  const kind = { S: "s", D: "d", I: "i" }[letter];
  return element("div", {}, element("span", { class: `mark ${kind}` }, letter === "I" ? `+${word}` : word));
}

/** The three lines as columns that wrap together, from the right in languages that are written so. */
function columnsOf(reference, before, after) {
  const words = wordsOf(reference);
  const sides = [places(words, before), places(words, after)];
  const columns = element("div", { class: "columns", dir: "auto" });
  for (let place = 0; place <= words.length; place++) {
    const put = sides.map((side) => side[place].put);
    for (let index = 0; index < Math.max(put[0].length, put[1].length); index++) {
      columns.append(element("div", { class: "column" }, marked("", ""), ...put.map((own) => marked("I", own[index]))));
    }
    if (place < words.length) {
      const heard = sides.map((side) => marked(side[place].letter, side[place].word));
      columns.append(element("div", { class: "column" }, element("div", {}, words[place]), ...heard));
    }
  }
  return columns;
}

/** The same in a sentence, for who does not see the columns. */
function spoken(reference, row) {
  const words = wordsOf(reference);
  const said = [];
  places(words, row).forEach((place, index) => {
    place.put.forEach((word) => said.push(`added ${word}`));
    if (place.letter === "S") said.push(`${place.word} for ${words[index]}`);
    if (place.letter === "D") said.push(`missed ${words[index]}`);
  });
  return said.length ? said.join(", ") : "no errors";
}

function changeText(before, after) {
  if (after === before) return ["", `as many errors: ${after}`];
  const many = Math.abs(after - before);
  const said = `${many} ${after > before ? "more" : "fewer"} ${many === 1 ? "error" : "errors"}: ${before} → ${after}`;
  return after > before ? ["worse", `▲ ${said}`] : ["better", `▼ ${said}`];
}

function lengthText(set, row) {
  const count = wordsOf(set.references[row]).length;
  const seconds = set.seconds[row];
  return `${count} words` + (seconds === null || seconds === undefined ? "" : `, ${seconds} s`);
}

function utteranceCard(source, set, row, names, before, after) {
  const [kind, text] = changeText(errorsOf(before[1]), errorsOf(after[1]));
  const facts = element(
    "div", { class: "facts" },
    element("span", { class: `change ${kind}` }, text),
    element("span", { class: "faint" }, `${set.title}`),
    element("span", { class: "faint" }, set.ids[row]),
    set.speakers[row] ? element("span", { class: "faint" }, `speaker ${set.speakers[row]}`) : null,
    element("span", { class: "faint" }, lengthText(set, row)),
  );
  const address = source.audio(set, row);
  if (address) facts.append(element("audio", { controls: true, preload: "none", src: address, "aria-label": `Play ${set.ids[row]}` }));
  const lines = ["reference", ...names].map((name) => element("div", {}, name));
  const columns = element("div", { "aria-hidden": "true" }, columnsOf(set.references[row], before, after));
  const sentence = `Reference: ${set.references[row]}. ${names[0]}: ${spoken(set.references[row], before)}. ${names[1]}: ${spoken(set.references[row], after)}.`;
  const written = element(
    "details", {},
    element("summary", {}, "as written"),
    element("p", {}, `reference: ${set.written[row]}`),
    element("p", {}, `${names[0]}: ${before[2] || before[0] || "(nothing)"}`),
    element("p", {}, `${names[1]}: ${after[2] || after[0] || "(nothing)"}`),
  );
  return element(
    "article", { class: "utterance" }, facts,
    element("p", { class: "unheard" }, sentence),
    element("div", { class: "aligned" }, element("div", { class: "names", "aria-hidden": "true" }, ...lines), columns),
    written,
  );
}

const SORTS = {
  worse: ["most worse first", (a, b) => b.change - a.change || a.row - b.row],
  better: ["most better first", (a, b) => a.change - b.change || a.row - b.row],
  errors: ["most errors first", (a, b) => b.after - a.after || a.row - b.row],
  long: ["longest first", (a, b) => b.words - a.words || a.row - b.row],
  order: ["as in the manifest", (a, b) => a.row - b.row],
};
const CHANGES = {
  all: ["all", () => true],
  changed: ["changed", (each) => each.change !== 0],
  worse: ["worse", (each) => each.change > 0],
  better: ["better", (each) => each.change < 0],
};

function measuredRows(set, before, after) {
  return after.rows.map((row, index) => {
    const was = errorsOf(before.rows[index][1]);
    const now = errorsOf(row[1]);
    return { row: index, before: was, after: now, change: now - was, words: wordsOf(set.references[index]).length };
  });
}

class UtteranceView {
  constructor(source, place, words) {
    this.source = source;
    this.place = place;
    this.words = words;
    this.choice = { set: source.sets[0].name, model: source.sets[0].winner, speaker: "", word: "", change: "all", sort: "worse" };
    this.shown = AT_ONCE;
    this.asked = 0;
  }

  /** Draws the chosen set and model once they are here, unless others were chosen meanwhile. */
  async show() {
    const asked = (this.asked += 1);
    const { set: name, model: wanted } = this.choice;
    const set = await this.source.set(name);
    const model = set.models.find((each) => each.key === wanted) || set.models.find((each) => each.key === set.winner);
    const before = await this.source.heard(set, "baseline");
    const after = await this.source.heard(set, model.key);
    if (asked !== this.asked) return;
    if (set !== this.set) this.choice.speaker = "";
    this.choice.model = model.key;
    Object.assign(this, { set, model, before, after });
    this.drawControls();
    this.drawList();
    this.drawWords();
  }

  /** Shows what was chosen, or says why it cannot be and leaves what is shown, under its own name. */
  async showChosen() {
    const asked = this.asked + 1;
    try {
      await this.show();
    } catch (error) {
      if (asked !== this.asked) return;
      Object.assign(this.choice, { set: this.set.name, model: this.model.key });
      this.drawControls();
      this.drawList();
      this.count.textContent = `What was chosen cannot be shown: ${error.message}`;
    }
  }

  drawControls() {
    const change = (name) => (value) => {
      this.choice[name] = value;
      this.shown = AT_ONCE;
      if (name === "set" || name === "model") this.showChosen();
      else this.drawList();
    };
    const models = this.set.models.filter((each) => each.key !== "baseline").map((each) => [each.key, each.label]);
    const speakers = [...new Set(this.set.speakers)].filter(Boolean).sort();
    const word = element("input", { type: "search", value: this.choice.word, oninput: () => change("word")(word.value) });
    this.count = element("p", { role: "status" });
    this.list = element("div", {});
    const hadFocus = this.controls && this.controls.contains(document.activeElement) ? document.activeElement.ariaLabel : "";
    this.controls = element(
      "div", { class: "controls" },
      labelled("Set", choice(this.source.sets.map((each) => [each.name, each.title]), this.choice.set, change("set"))),
      models.length ? labelled("Model", choice(models, this.choice.model, change("model"))) : null,
      labelled("Change", choice(Object.entries(CHANGES).map(([key, [text]]) => [key, text]), this.choice.change, change("change"))),
      speakers.length ? labelled("Speaker", choice([["", "all"], ...speakers.map((each) => [each, each])], this.choice.speaker, change("speaker"))) : null,
      labelled("Word", word),
      labelled("Sort", choice(Object.entries(SORTS).map(([key, [text]]) => [key, text]), this.choice.sort, change("sort"))),
    );
    this.place.replaceChildren(this.controls, this.note(), this.count, this.list);
    const again = [...this.controls.querySelectorAll("select, input")].find((each) => each.ariaLabel === hadFocus);
    if (again) again.focus();
  }

  /** What of the study is not in this file, and numbers that another normaliser made. */
  note() {
    const { set, after } = this;
    const said = [];
    if (!after.counted) said.push("The normaliser here is another version than the one that measured: marks may differ from the counts of the report.");
    if (set.rows.length < set.total) said.push(`Of ${set.total} utterances the ${set.rows.length} most changed are here.`);
    if (set.models_left_out) said.push(`${set.models_left_out} more did not fit into this file.`);
    if (this.source.contents.listen) said.push("Audio of the most changed utterances is in this file. All of it, and every trial: ");
    const command = this.source.contents.listen ? element("code", {}, this.source.contents.listen) : null;
    return element("p", { class: "note" }, said.join(" "), command);
  }

  fitting() {
    const { speaker, word, change } = this.choice;
    const wanted = word.trim().toLowerCase();
    const [sought, beside] = SPACELESS.test(wanted) ? [wanted, ""] : [` ${wanted} `, " "]; // a word, where there are some
    const holds = (text) => `${beside}${text.toLowerCase()}${beside}`.includes(sought);
    return measuredRows(this.set, this.before, this.after).filter((each) => {
      const texts = [this.set.references[each.row], this.before.rows[each.row][0], this.after.rows[each.row][0]];
      const ofSpeaker = !speaker || this.set.speakers[each.row] === speaker;
      return ofSpeaker && CHANGES[change][1](each) && (!wanted || texts.some(holds));
    });
  }

  drawList() {
    const rows = this.fitting().sort(SORTS[this.choice.sort][1]);
    const cards = rows.slice(0, this.shown).map((each) =>
      utteranceCard(this.source, this.set, each.row, ["untuned model", this.model.label], this.before.rows[each.row], this.after.rows[each.row]));
    const worse = rows.filter((each) => each.change > 0).length;
    const better = rows.filter((each) => each.change < 0).length;
    this.count.textContent = `${rows.length} utterances: ${worse} worse, ${better} better, ${rows.length - worse - better} with as many errors.`;
    this.list.replaceChildren(...cards);
    if (rows.length > this.shown) {
      const left = rows.length - this.shown;
      this.list.append(element("button", { type: "button", onclick: () => this.showMore() }, `Show more (${left} left)`));
    }
  }

  /** Lists more, and moves the focus from the button, which is made anew, to the first of them. */
  showMore() {
    const first = this.shown;
    this.shown += AT_ONCE;
    this.drawList();
    this.list.children[first].tabIndex = -1;
    this.list.children[first].focus();
  }

  drawWords() {
    const { better, worse, confusions, speakers, lengths } = this.after.summary;
    const rows = (groups) => groups.map(([name, words, before, after]) => [name || "(none named)", words, before, after, signed(after - before)]);
    const columns = (first, second) => [first, second, "untuned", "tuned", "change"];
    const table = (caption, first, groups) => {
      if (!groups.length) return null;
      const made = plainTable(caption, columns(first, "said"), rows(groups));
      makeSortable(made);
      return element("div", { class: "scroll", tabIndex: 0, role: "group", "aria-label": caption }, made);
    };
    const pairs = confusions.map(([name, , before, after]) => [name.split(" -> ").map((word) => word || "(nothing)").join(" → "), before, after, signed(after - before)]);
    const confused = plainTable("Confusions: said → heard", ["pair", "untuned", "tuned", "change"], pairs);
    makeSortable(confused);
    this.words.replaceChildren(
      element("p", {}, `${this.set.title}, ${this.model.label} against the untuned model; every word as often as it was said, and how often it was not heard as it is.`),
      element(
        "div", { class: "pair" },
        table("Words that are heard better", "word", better), table("Words that are heard worse", "word", worse),
        pairs.length ? element("div", { class: "scroll", tabIndex: 0, role: "group", "aria-label": "Confusions" }, confused) : null,
        table("Errors by speaker", "speaker", speakers), table("Errors by length", "length", lengths),
      ),
    );
  }
}

/** Utterances of a set that got worse, with what both models heard. */
async function worseOf(source, name) {
  const set = await source.set(name);
  const before = await source.heard(set, "baseline");
  const after = await source.heard(set, set.winner);
  const worse = measuredRows(set, before, after).filter((each) => each.change > 0);
  return worse.map((each) => ({ ...each, set, old: before.rows[each.row], now: after.rows[each.row] }));
}

/** Three utterances that got worse most: of all sets that the verdict rests on, and behind them of the others where those have too few. */
async function showWorst(source, place) {
  const isConfirm = ({ name }) => name.startsWith("confirm_");
  const found = [];
  for (const sets of [source.sets.filter(isConfirm), source.sets.filter((each) => !isConfirm(each))]) {
    if (found.length >= FIRST) break;
    const own = [];
    for (const { name } of sets) own.push(...(await worseOf(source, name)));
    found.push(...own.sort((a, b) => b.change - a.change)); // of equal ones in the order of the sets
  }
  const worst = found.slice(0, FIRST);
  if (!worst.length) return;
  const cards = worst.map((each) => {
    const label = each.set.models.find((model) => model.key === each.set.winner).label;
    return utteranceCard(source, each.set, each.row, ["untuned model", label], each.old, each.now);
  });
  place.append(element("h2", {}, `${worst.length === 1 ? "The utterance" : `${worst.length} utterances`} that got worse most`), ...cards);
}
