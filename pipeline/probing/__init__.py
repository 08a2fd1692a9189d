"""What models are asked, and when they count as right: helpers of knowledge and salience.

probe            closed-book questions and how answers are judged; published_rule: the same as published
sample           which facts are asked; weights: which model in this process answers
"""
