"""What models are asked, and when an answer is right: helpers of knowledge and salience.

probe            closed-book questions and how answers are judged; published_rule: the published way to judge them
sample           which facts are asked; weights: the identity of a model in this process
"""
