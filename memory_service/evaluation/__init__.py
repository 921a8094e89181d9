"""Whether search finds the messages that answer a question: readers of public and own sets, figures, runs, comparisons.

datasets     files -> conversations with questions, whose evidence is message ids
metrics      a ranking and the evidence -> recall, MRR, nDCG; many questions -> means with intervals
asking       where a set is ingested and asked: a scratch project in this process, or a service over HTTP
runner       a run: ingest, ask, score, summarise, in steps that can be taken up again
judging      answers by the language model, and what a judge says of them
comparing    two runs, question by question
jobs         runs that are asked for through the API
"""
